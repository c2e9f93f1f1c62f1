/* A team of threads that shares out the parts of a job. */
#ifndef HANLIN_THREADS_H
#define HANLIN_THREADS_H

#include <stdint.h>

typedef struct hanlin_team hanlin_team;
typedef void hanlin_task(void *context, int32_t part);

/* A team of `threads` threads, the caller among them. NULL where there is no memory; fewer threads where the system
 * gives no more. */
hanlin_team *hanlin_team_new(int32_t threads);
void hanlin_team_free(hanlin_team *team);
int32_t hanlin_team_size(const hanlin_team *team);

/* After a fork the child has none of the threads: start them anew. To be called before the first job of a step. */
void hanlin_team_revive(hanlin_team *team);

/* Call task(context, part) once for each part 0 .. parts-1, in no order, and return when all are done. What is written
 * before is seen by the parts, and what they write is seen after. Only one thread may call at a time. */
void hanlin_team_run(hanlin_team *team, hanlin_task *task, void *context, int32_t parts);

#endif
