/* NEON: all 64-bit ARM processors. A group is four vectors of 4 rows; 4 inputs at once. Where the processor has the
 * instruction for sums of four products (dotprod, since about 2018), it is used; the numbers are the same. */
#include "matrix.h"

#if defined(__aarch64__)
#include <arm_neon.h>
#include <math.h>
#include <string.h>
#if defined(__linux__)
#include <sys/auxv.h>
#endif

#include "prefetch.h"

#define AT_ONCE 4
#define INLINE static inline __attribute__((always_inline))

/* Add, for each of 4 rows, the sum of 4 products. Pairs of products of int8 fit 16 bits, as no input is -128. */
INLINE int32x4_t add_products(int dotprod, int32x4_t totals, int8x16_t weights, int8x16_t input) {
    if (dotprod) { /* written out, since not every compiler lets a single function use an extension */
        __asm__(".arch_extension dotprod\n\tsdot %0.4s, %1.16b, %2.16b" : "+w"(totals) : "w"(weights), "w"(input));
        return totals;
    }
    int16x8_t low = vmull_s8(vget_low_s8(weights), vget_low_s8(input)), high = vmull_high_s8(weights, input);
    return vpadalq_s16(totals, vpaddq_s16(low, high));
}

/* Four values of an input, for 4 rows. */
INLINE int8x16_t four(const int8_t *values) {
    int32_t four;
    memcpy(&four, values, 4);
    return vreinterpretq_s8_s32(vdupq_n_s32(four));
}

INLINE float32x4_t halves(const uint8_t *bits) {
    uint16_t four[4];
    memcpy(four, bits, 8);
    return vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(four)));
}

/* 16 rows x 4 columns: weights[i] has the rows 4i .. 4i+3. */
INLINE void multiply_piece(int dotprod, int count, const int8x16_t *weights, const int8_t *inputs,
                           int32x4_t totals[AT_ONCE][4]) {
#pragma GCC unroll 4
    for (int n = 0; n < count; n++) {
        int8x16_t input = four(inputs + n * HANLIN_BLOCK);
#pragma GCC unroll 4
        for (int i = 0; i < 4; i++)
            totals[n][i] = add_products(dotprod, totals[n][i], weights[i], input);
    }
}

INLINE void multiply_values(int dotprod, int32_t format, int count, const uint8_t *values, const int8_t *inputs,
                            int32x4_t totals[AT_ONCE][4]) {
    int pieces = format == HANLIN_Q8_0 ? 8 : 4;
#pragma GCC unroll 1
    for (int piece = 0; piece < pieces; piece++) {
        int8x16_t weights[4], odd[4];
#pragma GCC unroll 4
        for (int i = 0; i < 4; i++) {
            uint8x16_t both = vld1q_u8(values + piece * 64 + i * 16);
            weights[i] = vreinterpretq_s8_u8(format == HANLIN_Q8_0 ? both : vandq_u8(both, vdupq_n_u8(15)));
            odd[i] = vreinterpretq_s8_u8(vshrq_n_u8(both, 4));
        }
        if (format == HANLIN_Q8_0)
            multiply_piece(dotprod, count, weights, inputs + piece * 4, totals);
        else {
            multiply_piece(dotprod, count, weights, inputs + piece * 8, totals);
            multiply_piece(dotprod, count, odd, inputs + piece * 8 + 4, totals);
        }
    }
}

/* The inputs first .. first+count-1 of a tile; the first three are constants wherever this is unfolded. */
INLINE void multiply_rounded(int dotprod, int32_t format, int count, int32_t columns, const uint8_t *group,
                             const uint8_t *tile, int width, int first, float *sums) {
    float32x4_t results[AT_ONCE][4];
#pragma GCC unroll 4
    for (int n = 0; n < count; n++)
        results[n][0] = results[n][1] = results[n][2] = results[n][3] = vdupq_n_f32(0);
    const uint8_t *ahead = group;
    for (int32_t b = 0; b < columns / HANLIN_BLOCK; b++) {
        const uint8_t *scales = packed_scales(format, group, b), *values = packed_values(format, group, b);
        ahead = prefetch(ahead, scale_bytes(format) + value_bytes(format));
        int32x4_t totals[AT_ONCE][4];
#pragma GCC unroll 4
        for (int n = 0; n < count; n++) {
            int32_t start = format == HANLIN_Q4_0 ? tile_minus_8(tile, width)[first + n] : 0;
            totals[n][0] = totals[n][1] = totals[n][2] = totals[n][3] = vdupq_n_s32(start);
        }
        multiply_values(dotprod, format, count, values, tile_values(tile) + first * HANLIN_BLOCK, totals);
#pragma GCC unroll 4
        for (int i = 0; i < 4; i++) {
            float32x4_t scale = halves(scales + i * 8);
#pragma GCC unroll 4
            for (int n = 0; n < count; n++) {
                float32x4_t factor = vmulq_n_f32(scale, tile_scales(tile, width)[first + n]);
                results[n][i] = vfmaq_f32(results[n][i], vcvtq_f32_s32(totals[n][i]), factor);
                if (format == HANLIN_Q4_1)
                    results[n][i] = vfmaq_n_f32(results[n][i], halves(scales + 2 * HANLIN_GROUP + i * 8),
                                                tile_scaled_sums(tile, width)[first + n]);
            }
        }
        tile += (size_t)HANLIN_TILE_BLOCK_BYTES * (size_t)width;
    }
#pragma GCC unroll 4
    for (int n = 0; n < count; n++)
        for (int i = 0; i < 4; i++)
            vst1q_f32(sums + (first + n) * HANLIN_GROUP + i * 4, results[n][i]);
}

INLINE void multiply_floats(int count, int32_t columns, const uint8_t *group, const uint8_t *tile, int width,
                            int first, float *sums) {
    float32x4_t results[AT_ONCE][4];
#pragma GCC unroll 4
    for (int n = 0; n < count; n++)
        results[n][0] = results[n][1] = results[n][2] = results[n][3] = vdupq_n_f32(0);
    const float *weights = (const float *)group, *inputs = (const float *)tile + first;
    for (int32_t c = 0; c < columns; c++) {
        prefetch((const uint8_t *)weights, 64);
#pragma GCC unroll 4
        for (int i = 0; i < 4; i++) {
            float32x4_t weight = vld1q_f32(weights + i * 4);
#pragma GCC unroll 4
            for (int n = 0; n < count; n++)
                results[n][i] = vfmaq_n_f32(results[n][i], weight, inputs[n]);
        }
        weights += HANLIN_GROUP;
        inputs += width;
    }
#pragma GCC unroll 4
    for (int n = 0; n < count; n++)
        for (int i = 0; i < 4; i++)
            vst1q_f32(sums + (first + n) * HANLIN_GROUP + i * 4, results[n][i]);
}

#define FUNCTION
#define multiply_blocks(...) multiply_rounded(0, __VA_ARGS__)
#include "multiply_tile.h"
#undef multiply_blocks

#define multiply_blocks(...) multiply_rounded(1, __VA_ARGS__)
#define multiply_some multiply_some_dotprod
#define multiply_all multiply_all_dotprod
#define multiply_tile multiply_tile_dotprod
#include "multiply_tile.h"
#undef multiply_tile

static float round_block(const float *values, int8_t *rounded) {
    uint32x4_t greatest = vdupq_n_u32(0); /* of the bits without sign: NaN above infinity above all numbers */
    for (int i = 0; i < HANLIN_BLOCK; i += 4)
        greatest = vmaxq_u32(greatest, vreinterpretq_u32_f32(vabsq_f32(vld1q_f32(values + i))));
    uint32_t bits = vmaxvq_u32(greatest);
    float largest;
    memcpy(&largest, &bits, 4);
    if (!(largest >= 0x1p-100f && largest < INFINITY)) {
        memset(rounded, 0, HANLIN_BLOCK);
        return largest < 0x1p-100f ? 0 : NAN;
    }
    float inverse = 127 / largest;
    for (int i = 0; i < HANLIN_BLOCK; i += 8) {
        int32x4_t low = vcvtnq_s32_f32(vmulq_n_f32(vld1q_f32(values + i), inverse));
        int32x4_t high = vcvtnq_s32_f32(vmulq_n_f32(vld1q_f32(values + i + 4), inverse));
        vst1_s8(rounded + i, vmovn_s16(vcombine_s16(vmovn_s32(low), vmovn_s32(high))));
    }
    return largest / 127;
}

const hanlin_code *hanlin_neon(void) {
    static const hanlin_code code = {"neon", multiply_tile, round_block};
    return &code;
}

const hanlin_code *hanlin_dotprod(void) {
    static const hanlin_code code = {"neon-dotprod", multiply_tile_dotprod, round_block};
#if defined(__linux__)
    return getauxval(AT_HWCAP) & 1 << 20 ? &code : NULL; /* HWCAP_ASIMDDP */
#elif defined(__ARM_FEATURE_DOTPROD)
    return &code;
#else
    (void)code;
    return NULL;
#endif
}
#else
const hanlin_code *hanlin_neon(void) { return NULL; }
const hanlin_code *hanlin_dotprod(void) { return NULL; }
#endif
