/* AVX-512 with VNNI: servers since 2019, some desktops. A vector holds a whole group; 8 inputs at once. */
#include "matrix.h"

#if defined(__x86_64__)
#include <immintrin.h>
#include <string.h>

#include "prefetch.h"

#define FUNCTION __attribute__((target("avx2,fma,f16c,avx512f,avx512bw,avx512vl,avx512vnni")))
#define INLINE static inline __attribute__((always_inline)) FUNCTION

#define AT_ONCE 8

/* Four values of an input, for all rows. */
INLINE __m512i four(const int8_t *values) {
    int32_t four;
    memcpy(&four, values, 4);
    return _mm512_set1_epi32(four);
}

INLINE __m512 halves(const uint8_t *bits) { return _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)bits)); }

/* The instruction multiplies unsigned by signed: int8 weights are taken 128 greater, and totals begin at -128 x sum. */
INLINE void multiply_bytes(int count, const uint8_t *values, const int8_t *inputs, __m512i *totals) {
#pragma GCC unroll 8
    for (int piece = 0; piece < 8; piece++) {
        __m512i weights = _mm512_xor_si512(_mm512_loadu_si512(values + piece * 64), _mm512_set1_epi8(-128));
#pragma GCC unroll 8
        for (int n = 0; n < count; n++)
            totals[n] = _mm512_dpbusd_epi32(totals[n], weights, four(inputs + n * HANLIN_BLOCK + piece * 4));
    }
}

INLINE void multiply_half_bytes(int count, const uint8_t *values, const int8_t *inputs, __m512i *totals) {
    const __m512i low = _mm512_set1_epi8(15);
#pragma GCC unroll 4
    for (int piece = 0; piece < 4; piece++) {
        __m512i both = _mm512_loadu_si512(values + piece * 64);
        __m512i even = _mm512_and_si512(both, low), odd = _mm512_and_si512(_mm512_srli_epi16(both, 4), low);
#pragma GCC unroll 8
        for (int n = 0; n < count; n++)
            totals[n] = _mm512_dpbusd_epi32(totals[n], even, four(inputs + n * HANLIN_BLOCK + piece * 8));
#pragma GCC unroll 8
        for (int n = 0; n < count; n++)
            totals[n] = _mm512_dpbusd_epi32(totals[n], odd, four(inputs + n * HANLIN_BLOCK + piece * 8 + 4));
    }
}

/* The inputs first .. first+count-1 of a tile; `format` and `count` are constants wherever this is unfolded. */
INLINE void multiply_blocks(int32_t format, int count, int32_t columns, const uint8_t *group, const uint8_t *tile,
                            int width, int first, float *sums) {
    __m512 results[AT_ONCE];
#pragma GCC unroll 8
    for (int n = 0; n < count; n++)
        results[n] = _mm512_setzero_ps();
    const uint8_t *ahead = group;
    for (int32_t b = 0; b < columns / HANLIN_BLOCK; b++) {
        const uint8_t *scales = packed_scales(format, group, b), *values = packed_values(format, group, b);
        ahead = prefetch(ahead, scale_bytes(format) + value_bytes(format));
        const int32_t *starts = format == HANLIN_Q8_0 ? tile_minus_128(tile, width) : tile_minus_8(tile, width);
        __m512i totals[AT_ONCE];
#pragma GCC unroll 8
        for (int n = 0; n < count; n++)
            totals[n] = format == HANLIN_Q4_1 ? _mm512_setzero_si512() : _mm512_set1_epi32(starts[first + n]);
        if (format == HANLIN_Q8_0)
            multiply_bytes(count, values, tile_values(tile) + first * HANLIN_BLOCK, totals);
        else
            multiply_half_bytes(count, values, tile_values(tile) + first * HANLIN_BLOCK, totals);
        __m512 scale = halves(scales);
#pragma GCC unroll 8
        for (int n = 0; n < count; n++) {
            __m512 factor = _mm512_mul_ps(scale, _mm512_set1_ps(tile_scales(tile, width)[first + n]));
            results[n] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(totals[n]), factor, results[n]);
            if (format == HANLIN_Q4_1)
                results[n] = _mm512_fmadd_ps(halves(scales + 2 * HANLIN_GROUP),
                                             _mm512_set1_ps(tile_scaled_sums(tile, width)[first + n]), results[n]);
        }
        tile += (size_t)HANLIN_TILE_BLOCK_BYTES * (size_t)width;
    }
#pragma GCC unroll 8
    for (int n = 0; n < count; n++)
        _mm512_storeu_ps(sums + (first + n) * HANLIN_GROUP, results[n]);
}

INLINE void multiply_floats(int count, int32_t columns, const uint8_t *group, const uint8_t *tile, int width,
                            int first, float *sums) {
    __m512 results[AT_ONCE];
#pragma GCC unroll 8
    for (int n = 0; n < count; n++)
        results[n] = _mm512_setzero_ps();
    const float *weights = (const float *)group, *inputs = (const float *)tile + first;
#pragma GCC unroll 4
    for (int32_t c = 0; c < columns; c++) {
        prefetch((const uint8_t *)weights, 64);
        __m512 weight = _mm512_loadu_ps(weights);
#pragma GCC unroll 8
        for (int n = 0; n < count; n++)
            results[n] = _mm512_fmadd_ps(weight, _mm512_set1_ps(inputs[n]), results[n]);
        weights += HANLIN_GROUP;
        inputs += width;
    }
#pragma GCC unroll 8
    for (int n = 0; n < count; n++)
        _mm512_storeu_ps(sums + (first + n) * HANLIN_GROUP, results[n]);
}

#include "multiply_tile.h"

const hanlin_code *hanlin_avx512(void) {
    static const hanlin_code code = {"avx512-vnni", multiply_tile, hanlin_round_avx2};
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                   __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512vnni")
               ? &code
               : NULL;
}
#else
const hanlin_code *hanlin_avx512(void) { return NULL; }
#endif
