/* Rounding of inputs with AVX2, for all x86 code. */
#include "matrix.h"

#if defined(__x86_64__)
#include <immintrin.h>
#include <math.h>

__attribute__((target("avx2,fma"))) float hanlin_round_avx2(const float *values, int8_t *rounded) {
    const __m256i no_sign = _mm256_set1_epi32(0x7fffffff);
    __m256 parts[4];
    __m256i greatest = _mm256_setzero_si256(); /* of the bits without sign: NaN above infinity above all numbers */
    for (int i = 0; i < 4; i++) {
        parts[i] = _mm256_loadu_ps(values + 8 * i);
        greatest = _mm256_max_epi32(greatest, _mm256_and_si256(_mm256_castps_si256(parts[i]), no_sign));
    }
    __m128i four = _mm_max_epi32(_mm256_castsi256_si128(greatest), _mm256_extracti128_si256(greatest, 1));
    four = _mm_max_epi32(four, _mm_unpackhi_epi64(four, four));
    four = _mm_max_epi32(four, _mm_shuffle_epi32(four, 1));
    float largest = _mm_cvtss_f32(_mm_castsi128_ps(four));
    if (!(largest >= 0x1p-100f && largest < INFINITY)) {
        _mm256_storeu_si256((__m256i *)rounded, _mm256_setzero_si256());
        return largest < 0x1p-100f ? 0 : NAN;
    }
    const __m256 inverse = _mm256_set1_ps(127 / largest);
    __m256i whole[4];
    for (int i = 0; i < 4; i++)
        whole[i] = _mm256_cvtps_epi32(_mm256_mul_ps(parts[i], inverse));
    __m256i bytes = _mm256_packs_epi16(_mm256_packs_epi32(whole[0], whole[1]), _mm256_packs_epi32(whole[2], whole[3]));
    bytes = _mm256_permutevar8x32_epi32(bytes, _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7)); /* packs works by halves */
    _mm256_storeu_si256((__m256i *)rounded, bytes);
    return largest / 127;
}
#endif
