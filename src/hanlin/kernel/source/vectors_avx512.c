/* vectors.h in AVX-512. Compiled with what the machine that runs it must have (build.py). */
#ifdef __AVX512F__
#include <immintrin.h>
#include <stdint.h>

#define LANES 16
#define QUERIES 6
#define STEP 2
#define SLICE 4
#define load_half(x) ((V)_mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)(x))))
#define store_half(out, x) _mm256_storeu_si256((__m256i *)(out), _mm512_cvtps_ph((__m512)(x), 0))
#include "vectors_body.h"

const hanlin_vectors *hanlin_vectors_avx512(void) { return &table; }
#else
#include "vectors.h"

const hanlin_vectors *hanlin_vectors_avx512(void) { return NULL; }
#endif
