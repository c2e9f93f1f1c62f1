/* vectors.h in AVX2. Compiled with what the machine that runs it must have (build.py). */
#ifdef __AVX2__
#include <immintrin.h>
#include <stdint.h>

#define LANES 8
#define QUERIES 4
#define STEP 2
#define SLICE 2
#define load_half(x) ((V)_mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(x))))
#define store_half(out, x) _mm_storeu_si128((__m128i *)(out), _mm256_cvtps_ph((__m256)(x), 0))
#include "vectors_body.h"

const hanlin_vectors *hanlin_vectors_avx2(void) { return &table; }
#else
#include "vectors.h"

const hanlin_vectors *hanlin_vectors_avx2(void) { return NULL; }
#endif
