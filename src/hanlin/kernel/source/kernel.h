/* What the files of the kernel share, and what Python calls (functions with HANLIN_API).
 *
 * A matrix of R rows (outputs) and C columns (inputs) is packed: groups of 16 rows, of which the values for the same
 * inputs stand side by side, so that a group is multiplied without sums across lanes. R is padded to whole groups with
 * rows of zeros. In the block formats, C is a multiple of 32 and a block is 16 rows x 32 columns; the numbers are those
 * of GGUF (ggml-common.h), the order is ours (matrix.h).
 */
#ifndef HANLIN_KERNEL_H
#define HANLIN_KERNEL_H

#include <stddef.h>
#include <stdint.h>

#define HANLIN_API __attribute__((visibility("default")))

/* Number formats, with the numbers that GGUF gives them. */
enum { HANLIN_F32 = 0, HANLIN_Q4_0 = 2, HANLIN_Q4_1 = 3, HANLIN_Q8_0 = 8 };

enum { HANLIN_GROUP = 16, HANLIN_BLOCK = 32 };

typedef struct {
    const uint8_t *data; /* packed; 4-byte aligned, and fast if 64-byte aligned */
    int32_t rows, columns;
    int32_t format;
} hanlin_matrix;

/* N inputs of C values, made ready for the matrices of a format (for those of all block formats alike). The caller sets
 * all fields; hanlin_prepare fills `prepared`, of which the order is private to the kernel.
 *
 * For the block formats, inputs are rounded by blocks of 32 values x: a = max |x|, scale = a / 127 (float32), and each
 * value becomes x * (127 / a) rounded to the nearest integer, halves to even: the same on every instruction set. If
 * a < 2^-100 the block counts as zeros; if a is infinite or a value is NaN, scale is NaN and so is every product. */
typedef struct {
    int32_t count, columns;
    const float *values; /* (N, C) */
    uint8_t *prepared;   /* hanlin_prepared_bytes(format, N, C) bytes, 4-byte aligned (64 is best) */
} hanlin_inputs;

/* ---- matrix.c. Nothing here allocates or keeps state (but for hanlin_use): any thread may call anything. */

/* Bytes that a packed matrix takes, a multiple of 64. 0 for a format or shape that cannot be packed. */
HANLIN_API size_t hanlin_packed_bytes(int32_t format, int32_t rows, int32_t columns);

/* Pack `rows` rows: float32 (R, C) for HANLIN_F32, the blocks of GGUF row by row for the others. */
HANLIN_API void hanlin_pack(int32_t format, int32_t rows, int32_t columns, const void *source, uint8_t *target);

/* Row `row` of a packed matrix as float32: (C,). Embeddings are read so. */
HANLIN_API void hanlin_unpack_row(const hanlin_matrix *matrix, int32_t row, float *target);

/* Groups of rows in a matrix: what hanlin_multiply is split by. */
static inline int32_t hanlin_groups(const hanlin_matrix *matrix) {
    return (matrix->rows + HANLIN_GROUP - 1) / HANLIN_GROUP;
}

/* Bytes that `count` inputs take once prepared. */
HANLIN_API size_t hanlin_prepared_bytes(int32_t format, int32_t count, int32_t columns);

/* Prepare the inputs first .. last-1; threads may share the work by ranges. All must be prepared (and seen by the
 * thread, as after a barrier) before hanlin_multiply. */
HANLIN_API void hanlin_prepare(int32_t format, const hanlin_inputs *inputs, int32_t first, int32_t last);

/* out[n * stride + r] = matrix[r] . inputs[n] for all n, and the rows of the groups first .. last-1. Rows beyond
 * matrix->rows are not written. What one input gives depends neither on the others nor on the range of groups: not in
 * its last bit (on one instruction set; between two, the order of the float32 sums differs). */
HANLIN_API void hanlin_multiply(const hanlin_matrix *matrix, const hanlin_inputs *inputs, float *out, size_t stride,
                                int32_t first, int32_t last);

/* Which code runs: "avx512-vnni", "avx2", "neon-dotprod", "neon" or "generic". hanlin_use chooses one that the machine
 * has (for tests and comparisons; not while others multiply); returns 0 if it has it not. */
HANLIN_API const char *hanlin_instructions(void);
HANLIN_API int32_t hanlin_use(const char *instructions);

#endif
