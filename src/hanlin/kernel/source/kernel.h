/* What the files of the kernel share, and what Python calls (functions with HANLIN_API).
 *
 * A matrix of R rows (outputs) and C columns (inputs) is packed: groups of 8 rows, of which the values for the same
 * input stand side by side, so that a group is multiplied without sums across lanes. R is padded to whole groups with
 * rows of zeros. In the block formats, C is a multiple of 32 and a block is 8 rows x 32 columns; the numbers are those
 * of GGUF (ggml-common.h), the order is ours.
 */
#ifndef HANLIN_KERNEL_H
#define HANLIN_KERNEL_H

#include <stddef.h>
#include <stdint.h>

#define HANLIN_API __attribute__((visibility("default")))

/* Number formats, with the numbers that GGUF gives them. */
enum { HANLIN_F32 = 0, HANLIN_Q4_0 = 2, HANLIN_Q4_1 = 3, HANLIN_Q8_0 = 8 };

enum { HANLIN_GROUP = 8, HANLIN_BLOCK = 32 };

typedef struct {
    const uint8_t *data; /* packed; 64-byte aligned */
    int32_t rows, columns;
    int32_t format;
} hanlin_matrix;

/* N inputs of C values, as a matrix of some format wants them: float32 for HANLIN_F32; for the block formats rounded,
 * by blocks of 32, to int8 x scale (scale = greatest absolute value / 127, float32, half away from or to even: the same
 * on every path), with the sum of each block's rounded values (the products of Q4_1's minima and of unsigned weights
 * need it). Filled by hanlin_prepare; memory is the caller's. */
typedef struct {
    int32_t count, columns;
    const float *values;  /* (N, C) */
    int8_t *rounded;      /* (N, C) */
    float *scales;        /* (N, C / 32) */
    int32_t *sums;        /* (N, C / 32): sums of `rounded` */
} hanlin_inputs;

/* ---- matrix.c */

/* Bytes that a packed matrix takes. 0 for a format or shape that cannot be packed. */
HANLIN_API size_t hanlin_packed_bytes(int32_t format, int32_t rows, int32_t columns);

/* Pack `rows` rows: float32 (R, C) for HANLIN_F32, the blocks of GGUF row by row for the others. */
HANLIN_API void hanlin_pack(int32_t format, int32_t rows, int32_t columns, const void *source, uint8_t *target);

/* Row `row` of a packed matrix as float32: (C,). Embeddings are read so. */
HANLIN_API void hanlin_unpack_row(const hanlin_matrix *matrix, int32_t row, float *target);

/* Round the inputs first .. last-1 (no-op for HANLIN_F32). */
void hanlin_prepare(int32_t format, hanlin_inputs *inputs, int32_t first, int32_t last);

/* out[n * stride + r] = matrix[r] . inputs[n] for all n, and the rows of the groups first .. last-1. Rows beyond
 * matrix->rows are not written. What one input gives does not depend on the others: not in its last bit. */
void hanlin_multiply(const hanlin_matrix *matrix, const hanlin_inputs *inputs, float *out, size_t stride,
                     int32_t first, int32_t last);

/* Both, in one thread: for tests. */
HANLIN_API void hanlin_product(const hanlin_matrix *matrix, const float *values, int32_t count, float *out);

/* Which code runs: "avx512-vnni", "avx2", "neon", "generic". hanlin_use chooses one that the machine has (for tests and
 * comparisons); returns 0 if it has it not. */
HANLIN_API const char *hanlin_instructions(void);
HANLIN_API int32_t hanlin_use(const char *instructions);

/* ---- threads.c: a team that waits asleep, not spinning, when there is nothing to do (network.c uses it) */

/* ---- network.c: the decoder */

#endif
