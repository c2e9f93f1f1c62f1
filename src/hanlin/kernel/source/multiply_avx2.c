/* AVX2, FMA and F16C: x86 processors since 2013. A vector holds 8 rows, so a group is two; 4 inputs at once. */
#include "matrix.h"

#if defined(__x86_64__)
#include <immintrin.h>
#include <string.h>

#include "prefetch.h"

#define FUNCTION __attribute__((target("avx2,fma,f16c")))
#define INLINE static inline __attribute__((always_inline)) FUNCTION

#define AT_ONCE 4

INLINE __m256i load(const void *values) { return _mm256_loadu_si256((const __m256i *)values); }

/* Four values of an input, for all rows. */
INLINE __m256i four(const int8_t *values) {
    int32_t four;
    memcpy(&four, values, 4);
    return _mm256_set1_epi32(four);
}

INLINE __m256 halves(const uint8_t *bits) { return _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)bits)); }

/* Products of int8: |w| x (x with the sign of w) fits two products in 16 bits, as the instruction adds them. */
INLINE void multiply_bytes(int count, const uint8_t *values, const int8_t *inputs, __m256i totals[2][AT_ONCE]) {
    const __m256i ones = _mm256_set1_epi16(1);
#pragma GCC unroll 4
    for (int n = 0; n < count; n++)
        totals[0][n] = totals[1][n] = _mm256_setzero_si256();
#pragma GCC unroll 1 /* unfolded, the sums are reordered by GCC and do not fit the registers */
    for (int piece = 0; piece < 8; piece++) {
        __m256i weights[2] = {load(values + piece * 64), load(values + piece * 64 + 32)};
        __m256i sizes[2] = {_mm256_abs_epi8(weights[0]), _mm256_abs_epi8(weights[1])};
#pragma GCC unroll 4
        for (int n = 0; n < count; n++) {
            __m256i input = four(inputs + n * HANLIN_BLOCK + piece * 4);
#pragma GCC unroll 2
            for (int half = 0; half < 2; half++) {
                __m256i pairs = _mm256_maddubs_epi16(sizes[half], _mm256_sign_epi8(input, weights[half]));
                totals[half][n] = _mm256_add_epi32(totals[half][n], _mm256_madd_epi16(pairs, ones));
            }
        }
    }
}

/* Products of half bytes: a row's 32 (each at most 15 x 127, 16 in each 16 bits: 30480) are added in 16 bits. */
INLINE void multiply_half_bytes(int count, const uint8_t *values, const int8_t *inputs, const int32_t *starts,
                                __m256i totals[2][AT_ONCE]) {
    const __m256i low = _mm256_set1_epi8(15), ones = _mm256_set1_epi16(1);
#pragma GCC unroll 4
    for (int n = 0; n < count; n++)
        totals[0][n] = totals[1][n] = _mm256_setzero_si256();
#pragma GCC unroll 1
    for (int piece = 0; piece < 4; piece++) {
        __m256i both[2] = {load(values + piece * 64), load(values + piece * 64 + 32)};
#pragma GCC unroll 2
        for (int odd = 0; odd < 2; odd++) {
            __m256i weights[2] = {_mm256_and_si256(both[0], low), _mm256_and_si256(both[1], low)};
#pragma GCC unroll 4
            for (int n = 0; n < count; n++) {
                __m256i input = four(inputs + n * HANLIN_BLOCK + piece * 8 + odd * 4);
#pragma GCC unroll 2
                for (int half = 0; half < 2; half++)
                    totals[half][n] =
                        _mm256_add_epi16(totals[half][n], _mm256_maddubs_epi16(weights[half], input));
            }
            both[0] = _mm256_srli_epi16(both[0], 4);
            both[1] = _mm256_srli_epi16(both[1], 4);
        }
    }
#pragma GCC unroll 4
    for (int n = 0; n < count; n++) {
        __m256i start = starts ? _mm256_set1_epi32(starts[n]) : _mm256_setzero_si256();
#pragma GCC unroll 2
        for (int half = 0; half < 2; half++)
            totals[half][n] = _mm256_add_epi32(start, _mm256_madd_epi16(totals[half][n], ones));
    }
}

/* The inputs first .. first+count-1 of a tile; `format` and `count` are constants wherever this is unfolded. */
INLINE void multiply_blocks(int32_t format, int count, int32_t columns, const uint8_t *group, const uint8_t *tile,
                            int width, int first, float *sums) {
    __m256 results[2][AT_ONCE];
#pragma GCC unroll 4
    for (int n = 0; n < count; n++)
        results[0][n] = results[1][n] = _mm256_setzero_ps();
    const uint8_t *ahead = group;
    for (int32_t b = 0; b < columns / HANLIN_BLOCK; b++) {
        const uint8_t *scales = packed_scales(format, group, b), *values = packed_values(format, group, b);
        ahead = prefetch(ahead, scale_bytes(format) + value_bytes(format));
        const int8_t *inputs = tile_values(tile) + first * HANLIN_BLOCK;
        __m256i totals[2][AT_ONCE];
        if (format == HANLIN_Q8_0)
            multiply_bytes(count, values, inputs, totals);
        else
            multiply_half_bytes(count, values, inputs,
                                format == HANLIN_Q4_0 ? tile_minus_8(tile, width) + first : NULL, totals);
#pragma GCC unroll 2
        for (int half = 0; half < 2; half++) {
            __m256 scale = halves(scales + half * 16);
#pragma GCC unroll 4
            for (int n = 0; n < count; n++) {
                __m256 factor = _mm256_mul_ps(scale, _mm256_set1_ps(tile_scales(tile, width)[first + n]));
                __m256 *result = &results[half][n];
                *result = _mm256_fmadd_ps(_mm256_cvtepi32_ps(totals[half][n]), factor, *result);
                if (format == HANLIN_Q4_1)
                    *result = _mm256_fmadd_ps(halves(scales + 2 * HANLIN_GROUP + half * 16),
                                              _mm256_set1_ps(tile_scaled_sums(tile, width)[first + n]), *result);
            }
        }
        tile += (size_t)HANLIN_TILE_BLOCK_BYTES * (size_t)width;
    }
#pragma GCC unroll 4
    for (int n = 0; n < count; n++)
#pragma GCC unroll 2
        for (int half = 0; half < 2; half++)
            _mm256_storeu_ps(sums + (first + n) * HANLIN_GROUP + half * 8, results[half][n]);
}

INLINE void multiply_floats(int count, int32_t columns, const uint8_t *group, const uint8_t *tile, int width, int first,
                            float *sums) {
    __m256 results[2][AT_ONCE];
#pragma GCC unroll 4
    for (int n = 0; n < count; n++)
        results[0][n] = results[1][n] = _mm256_setzero_ps();
    const float *weights = (const float *)group, *inputs = (const float *)tile + first;
#pragma GCC unroll 4
    for (int32_t c = 0; c < columns; c++) {
        prefetch((const uint8_t *)weights, 64);
        __m256 low = _mm256_loadu_ps(weights), high = _mm256_loadu_ps(weights + 8);
#pragma GCC unroll 4
        for (int n = 0; n < count; n++) {
            __m256 input = _mm256_set1_ps(inputs[n]);
            results[0][n] = _mm256_fmadd_ps(low, input, results[0][n]);
            results[1][n] = _mm256_fmadd_ps(high, input, results[1][n]);
        }
        weights += HANLIN_GROUP;
        inputs += width;
    }
#pragma GCC unroll 4
    for (int n = 0; n < count; n++)
#pragma GCC unroll 2
        for (int half = 0; half < 2; half++)
            _mm256_storeu_ps(sums + (first + n) * HANLIN_GROUP + half * 8, results[half][n]);
}

#include "multiply_tile.h"

const hanlin_code *hanlin_avx2(void) {
    /* F16C came before AVX2 on every processor; not every compiler can ask for it. */
    static const hanlin_code code = {"avx2", multiply_tile, hanlin_round_avx2};
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") ? &code : NULL;
}
#else
const hanlin_code *hanlin_avx2(void) { return NULL; }
#endif
