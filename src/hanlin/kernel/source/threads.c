/* A team of threads that shares out the parts of a job.
 *
 * Nobody owns a part before it is taken: a thread that the system has set aside holds up nothing but the part that it
 * is in. Whoever waits spins for a moment, since the next job of a step is microseconds away, and then sleeps, so that
 * an idle team costs nothing and a thread that was set aside finds a free core.
 */
#define _GNU_SOURCE
#include "threads.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>

enum { SPINS = 2000 }; /* of about 20 ns: longer than a job's last part, shorter than a turn of the scheduler */

struct hanlin_team {
    /* Number of the job in the upper half, parts that nobody has taken in the lower. One word, so that a thread that
     * comes late takes no part of a job that is over. */
    _Alignas(64) atomic_uint_least64_t open;
    _Alignas(64) atomic_int_least32_t done;
    _Alignas(64) hanlin_task *task;
    void *context;
    int32_t parts;
    atomic_bool stop;
    atomic_int sleepers; /* workers that wait for a job asleep */
    atomic_bool waiting; /* the caller waits asleep for the last part */
    pthread_mutex_t lock;
    pthread_cond_t opened, finished;
    int32_t workers;
    unsigned forks;
    pthread_t threads[];
};

static atomic_uint forks; /* how many forks this process is the child of */

static void count_fork(void) { atomic_fetch_add(&forks, 1); }

static void watch_forks(void) { pthread_atfork(NULL, NULL, count_fork); }

static inline void pause_briefly(void) {
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

/* Take a part and do it; whether there was one. */
static bool do_part(hanlin_team *team) {
    uint64_t open = atomic_load(&team->open);
    do {
        if (!(uint32_t)open) return false;
    } while (!atomic_compare_exchange_weak(&team->open, &open, open - 1));
    /* The job cannot end before this part: its description stays. */
    int32_t parts = team->parts;
    team->task(team->context, parts - (int32_t)(uint32_t)open);
    if (atomic_fetch_add(&team->done, 1) + 1 == parts && atomic_load(&team->waiting)) {
        pthread_mutex_lock(&team->lock);
        pthread_cond_signal(&team->finished);
        pthread_mutex_unlock(&team->lock);
    }
    return true;
}

static bool nothing_open(hanlin_team *team) {
    return !(uint32_t)atomic_load(&team->open) && !atomic_load(&team->stop);
}

static void *work(void *argument) {
    hanlin_team *team = argument;
    while (!atomic_load(&team->stop)) {
        if (do_part(team)) continue;
        for (int spin = 0; spin < SPINS && nothing_open(team); spin++) pause_briefly();
        if (!nothing_open(team)) continue;
        pthread_mutex_lock(&team->lock);
        atomic_fetch_add(&team->sleepers, 1);
        while (nothing_open(team)) pthread_cond_wait(&team->opened, &team->lock);
        atomic_fetch_sub(&team->sleepers, 1);
        pthread_mutex_unlock(&team->lock);
    }
    return NULL;
}

static void start(hanlin_team *team, int32_t workers) {
    pthread_mutex_init(&team->lock, NULL);
    pthread_cond_init(&team->opened, NULL);
    pthread_cond_init(&team->finished, NULL);
    atomic_store(&team->sleepers, 0);
    atomic_store(&team->waiting, false);
    team->forks = atomic_load(&forks);
    team->workers = 0;
    while (team->workers < workers && !pthread_create(&team->threads[team->workers], NULL, work, team))
        team->workers++;
}

hanlin_team *hanlin_team_new(int32_t threads) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, watch_forks);
    int32_t workers = threads > 1 ? threads - 1 : 0;
    size_t size = (sizeof(hanlin_team) + (size_t)workers * sizeof(pthread_t) + 63) / 64 * 64;
    hanlin_team *team = aligned_alloc(64, size);
    if (!team) return NULL;
    atomic_init(&team->open, 0);
    atomic_init(&team->done, 0);
    atomic_init(&team->stop, false);
    start(team, workers);
    return team;
}

void hanlin_team_free(hanlin_team *team) {
    if (!team) return;
    if (team->forks == atomic_load(&forks)) {
        pthread_mutex_lock(&team->lock);
        atomic_store(&team->stop, true);
        pthread_cond_broadcast(&team->opened);
        pthread_mutex_unlock(&team->lock);
        for (int32_t i = 0; i < team->workers; i++) pthread_join(team->threads[i], NULL);
    }
    free(team);
}

int32_t hanlin_team_size(const hanlin_team *team) { return team->workers + 1; }

void hanlin_team_revive(hanlin_team *team) {
    if (team->forks == atomic_load(&forks)) return;
    atomic_store(&team->open, atomic_load(&team->open) >> 32 << 32); /* the parent may have been in a job */
    start(team, team->workers);
}

void hanlin_team_run(hanlin_team *team, hanlin_task *task, void *context, int32_t parts) {
    if (parts <= 0) return;
    if (!team->workers || parts == 1) {
        for (int32_t part = 0; part < parts; part++) task(context, part);
        return;
    }
    team->task = task;
    team->context = context;
    team->parts = parts;
    atomic_store(&team->done, 0);
    uint64_t job = (atomic_load(&team->open) >> 32) + 1;
    atomic_store(&team->open, job << 32 | (uint32_t)parts);
    if (atomic_load(&team->sleepers)) {
        pthread_mutex_lock(&team->lock);
        pthread_cond_broadcast(&team->opened);
        pthread_mutex_unlock(&team->lock);
    }
    while (do_part(team)) continue;
    for (int spin = 0; spin < SPINS && atomic_load(&team->done) < parts; spin++) pause_briefly();
    if (atomic_load(&team->done) == parts) return;
    pthread_mutex_lock(&team->lock);
    atomic_store(&team->waiting, true);
    while (atomic_load(&team->done) < parts) pthread_cond_wait(&team->finished, &team->lock);
    atomic_store(&team->waiting, false);
    pthread_mutex_unlock(&team->lock);
}
