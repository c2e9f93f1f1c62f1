/* How packed matrices and prepared inputs lie in memory, and what the code of an instruction set consists of.
 *
 * A packed group (16 rows) of a block format is read from front to end, which is what the memory is fast at: pairs of
 * blocks (the last may be half empty), of which first the scales, in each block 16 half floats (Q4_1: then 16 minima),
 * and then the values, in pieces of 64 bytes: 16 rows x 4 columns, row by row. Q8_0 has 8 pieces of int8 in a block;
 * Q4 has 4, of which piece k holds columns 8k .. 8k+3 in the low half bytes and 8k+4 .. 8k+7 in the high ones. So all
 * pieces are whole cache lines. A group of F32: column by column, 16 floats each.
 *
 * Prepared inputs lie in tiles of 8 (or all of them, if fewer), so that a tile is read from front to end. Of width W,
 * a tile of F32 is, column by column, W floats; a tile of rounded inputs, block by block, five arrays: W x 32 int8 and
 * W each of: scale (float32), -8 x sum, -128 x sum (int32; sum is that of the 32 int8), scale x sum (float32).
 */
#ifndef HANLIN_MATRIX_H
#define HANLIN_MATRIX_H

#include "kernel.h"

enum { HANLIN_TILE = 8, HANLIN_TILE_BLOCK_BYTES = HANLIN_BLOCK + 16 };

/* The five arrays of one block of a tile, of `width` inputs. */
static inline const int8_t *tile_values(const uint8_t *block) { return (const int8_t *)block; }
static inline const float *tile_scales(const uint8_t *block, int width) {
    return (const float *)(block + HANLIN_BLOCK * width);
}
static inline const int32_t *tile_minus_8(const uint8_t *block, int width) {
    return (const int32_t *)(block + (HANLIN_BLOCK + 4) * width);
}
static inline const int32_t *tile_minus_128(const uint8_t *block, int width) {
    return (const int32_t *)(block + (HANLIN_BLOCK + 8) * width);
}
static inline const float *tile_scaled_sums(const uint8_t *block, int width) {
    return (const float *)(block + (HANLIN_BLOCK + 12) * width);
}

/* Bytes of one block (or, of F32, column) of a packed group: of its scales and minima, and of its values. */
static inline size_t scale_bytes(int32_t format) {
    return format == HANLIN_F32 ? 0 : format == HANLIN_Q4_1 ? 4 * HANLIN_GROUP : 2 * HANLIN_GROUP;
}
static inline size_t value_bytes(int32_t format) {
    size_t values = format == HANLIN_F32 ? HANLIN_GROUP : HANLIN_GROUP * HANLIN_BLOCK;
    return format == HANLIN_F32 ? 4 * values : format == HANLIN_Q8_0 ? values : values / 2;
}

/* Blocks (or, of F32, columns) in a row. */
static inline int32_t blocks_in(int32_t format, int32_t columns) {
    return format == HANLIN_F32 ? columns : columns / HANLIN_BLOCK;
}

/* Bytes of a packed group. */
static inline size_t group_bytes(int32_t format, int32_t columns) {
    size_t blocks = (size_t)blocks_in(format, columns);
    return (format == HANLIN_F32 ? blocks : (blocks + 1) / 2 * 2) * (scale_bytes(format) + value_bytes(format));
}

/* The scales (then minima) and the values of block b of a packed group. */
static inline const uint8_t *packed_scales(int32_t format, const uint8_t *group, int32_t b) {
    size_t pair = (size_t)(b / 2) * 2 * (scale_bytes(format) + value_bytes(format));
    return group + pair + (size_t)(b % 2) * scale_bytes(format);
}
static inline const uint8_t *packed_values(int32_t format, const uint8_t *group, int32_t b) {
    return group + (size_t)(b / 2 + 1) * 2 * scale_bytes(format) + (size_t)b * value_bytes(format);
}

/* One group times the first `used` inputs of a tile of width `width`: sums (used, 16). */
typedef void hanlin_tile_function(int32_t format, int32_t columns, const uint8_t *group, const uint8_t *tile, int width,
                                  int used, float *sums);

/* Round 32 values to int8; returns the scale. */
typedef float hanlin_round_function(const float *values, int8_t *rounded);

/* The code of one instruction set; NULL where the compiler or the machine has it not. */
typedef struct {
    const char *name;
    hanlin_tile_function *multiply_tile;
    hanlin_round_function *round_block;
} hanlin_code;

const hanlin_code *hanlin_generic(void);
const hanlin_code *hanlin_avx2(void);
const hanlin_code *hanlin_avx512(void);
const hanlin_code *hanlin_dotprod(void);
const hanlin_code *hanlin_neon(void);

float hanlin_round_avx2(const float *values, int8_t *rounded);

/* An IEEE half float; denormals, infinities and NaN too. */
float hanlin_half(const uint8_t *bits);

#endif
