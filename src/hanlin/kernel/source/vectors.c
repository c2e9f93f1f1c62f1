/* vectors.h in whatever vectors of four floats every machine has, and the choice between instruction sets. */
#include <string.h>

#include "kernel.h"

#define LANES 4
#define QUERIES 4
#define STEP 2
#define SLICE 2

typedef float floats __attribute__((vector_size(16)));
typedef uint32_t words __attribute__((vector_size(16)));

/* A float16 is, moved to a float32's places, 2^112 times too small; so it is right for subnormal numbers too. Infinite
 * ones are never stored. */
static inline floats load_half(const uint16_t *x) {
    words half = {x[0], x[1], x[2], x[3]};
    floats size = (floats)((half & 0x7fff) << 13) * 0x1p112f;
    return (floats)((words)size | (half & 0x8000) << 16);
}

static inline uint16_t half_of(float x) {
    uint32_t bits, rounded;
    memcpy(&bits, &x, sizeof bits);
    uint32_t sign = bits >> 16 & 0x8000, size = bits & 0x7fffffff;
    if (size < 0x38800000) { /* subnormal: the sum with 1/2 rounds to its places */
        float magic;
        memcpy(&magic, &size, sizeof magic);
        magic += 0.5f;
        memcpy(&rounded, &magic, sizeof rounded);
        return (uint16_t)(sign | (rounded - 0x3f000000));
    }
    rounded = size + 0xfff + (size >> 13 & 1) - 0x38000000;
    return (uint16_t)(sign | rounded >> 13);
}

static inline void store_half(uint16_t *out, floats x) {
    for (int i = 0; i < 4; i++) out[i] = half_of(x[i]);
}

#include "vectors_body.h"

const hanlin_vectors *hanlin_choose_vectors(void) {
    const hanlin_vectors *found = NULL;
    if (!strcmp(hanlin_instructions(), "avx512-vnni")) found = hanlin_vectors_avx512();
    if (!strcmp(hanlin_instructions(), "avx2")) found = hanlin_vectors_avx2();
    return found ? found : &table;
}
