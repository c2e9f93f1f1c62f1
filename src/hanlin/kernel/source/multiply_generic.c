/* Plain C: what runs where there is nothing better, and what the other code is to be understood by. */
#include <math.h>
#include <string.h>

#include "matrix.h"

float hanlin_half(const uint8_t *bits) {
    uint16_t half;
    memcpy(&half, bits, 2);
    int exponent = half >> 10 & 31, fraction = half & 1023;
    float value = exponent == 31  ? (fraction ? NAN : INFINITY)
                  : exponent == 0 ? (float)fraction * 0x1p-24f
                                  : ldexpf((float)(fraction + 1024), exponent - 25);
    return half & 0x8000 ? -value : value;
}

static float round_block(const float *values, int8_t *rounded) {
    float greatest = 0;
    int finite = 1;
    for (int i = 0; i < HANLIN_BLOCK; i++) {
        finite &= isfinite(values[i]) != 0;
        greatest = fmaxf(greatest, fabsf(values[i]));
    }
    if (!finite || greatest < 0x1p-100f) {
        memset(rounded, 0, HANLIN_BLOCK);
        return finite ? 0 : NAN;
    }
    float inverse = 127 / greatest;
    for (int i = 0; i < HANLIN_BLOCK; i++)
        rounded[i] = (int8_t)lrintf(values[i] * inverse);
    return greatest / 127;
}

static void multiply_floats(int32_t columns, const uint8_t *group, const float *input, int width, float *sums) {
    const float *weights = (const float *)group;
    for (int32_t c = 0; c < columns; c++)
        for (int r = 0; r < HANLIN_GROUP; r++)
            sums[r] += weights[(size_t)c * HANLIN_GROUP + r] * input[(size_t)c * width];
}

/* The 16 x 32 weights of a block as numbers, in pieces of 16 x 4: those of Q8_0 as they are, half bytes unsigned. */
static void unpack_block(int32_t format, const uint8_t *values, int8_t *weights) {
    if (format == HANLIN_Q8_0) {
        memcpy(weights, values, HANLIN_GROUP * HANLIN_BLOCK);
        return;
    }
    for (int piece = 0; piece < 4; piece++)
        for (int i = 0; i < 64; i++) {
            weights[piece * 128 + i] = values[piece * 64 + i] & 15;
            weights[piece * 128 + 64 + i] = values[piece * 64 + i] >> 4;
        }
}

static void multiply_block(const int8_t *weights, const int8_t *input, int32_t *totals) {
    for (int piece = 0; piece < 8; piece++)
        for (int r = 0; r < HANLIN_GROUP; r++)
            for (int j = 0; j < 4; j++)
                totals[r] += weights[piece * 64 + r * 4 + j] * input[piece * 4 + j];
}

static void multiply_tile(int32_t format, int32_t columns, const uint8_t *group, const uint8_t *tile, int width,
                          int used, float *sums) {
    memset(sums, 0, sizeof(float) * HANLIN_GROUP * used);
    if (format == HANLIN_F32) {
        for (int n = 0; n < used; n++)
            multiply_floats(columns, group, (const float *)tile + n, width, sums + n * HANLIN_GROUP);
        return;
    }
    for (int32_t b = 0; b < columns / HANLIN_BLOCK; b++) {
        const uint8_t *scales = packed_scales(format, group, b);
        int8_t weights[HANLIN_GROUP * HANLIN_BLOCK];
        unpack_block(format, packed_values(format, group, b), weights);
        for (int n = 0; n < used; n++) {
            int32_t start = format == HANLIN_Q4_0 ? tile_minus_8(tile, width)[n] : 0, totals[HANLIN_GROUP];
            for (int r = 0; r < HANLIN_GROUP; r++)
                totals[r] = start;
            multiply_block(weights, tile_values(tile) + n * HANLIN_BLOCK, totals);
            float scale = tile_scales(tile, width)[n], scaled_sum = tile_scaled_sums(tile, width)[n];
            for (int r = 0; r < HANLIN_GROUP; r++) {
                float *sum = sums + n * HANLIN_GROUP + r;
                *sum += (float)totals[r] * (hanlin_half(scales + 2 * r) * scale);
                if (format == HANLIN_Q4_1)
                    *sum += hanlin_half(scales + 2 * HANLIN_GROUP + 2 * r) * scaled_sum;
            }
        }
        tile += (size_t)HANLIN_TILE_BLOCK_BYTES * width;
    }
}

const hanlin_code *hanlin_generic(void) {
    static const hanlin_code code = {"generic", multiply_tile, round_block};
    return &code;
}
