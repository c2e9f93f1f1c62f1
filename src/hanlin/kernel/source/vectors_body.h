/* The arithmetic of vectors.h, in vectors of LANES floats. Included once for each instruction set, which defines
 * LANES; QUERIES, STEP and SLICE, so that QUERIES * STEP sums (and QUERIES * SLICE) stay in registers; load_half and
 * store_half. It makes `table`.
 */
#include <math.h>
#include <string.h>

#include "vectors.h"

typedef float V __attribute__((vector_size(4 * LANES), aligned(4), may_alias));
typedef int32_t I __attribute__((vector_size(4 * LANES), aligned(4), may_alias));

#define INLINE static inline __attribute__((always_inline))
#define UNROLL _Pragma("GCC unroll 16")

INLINE V load(const float *x) { return *(const V *)x; }
INLINE V each(float x) { return x - (V){0}; }
INLINE V choose(I which, V yes, V no) { return (V)((which & (I)yes) | (~which & (I)no)); }
INLINE V greater(V a, V b) { return choose(a > b, a, b); }

INLINE V load_number(const void *x, size_t index, int half) {
    return half ? (V)load_half((const uint16_t *)x + index) : load((const float *)x + index);
}

static float sum(V x) {
    float total = 0;
    for (int i = 0; i < LANES; i++) total += x[i];
    return total;
}

/* e^x to about 2 units in the last place; 0 below -87. Cephes' polynomial for e^r, |r| <= ln 2 / 2. */
INLINE V exponential(V x) {
    const float shift = 0x1.8p23f;
    V shifted = x * 0x1.715476p0f + shift, n = shifted - shift;
    V r = x - n * 0.693359375f + n * 2.12194440e-4f;
    V p = each(1.9875691500e-4f);
    p = p * r + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    p = p * (r * r) + r + 1.0f;
    I power = (I)p + ((I)shifted << 23);
    return (V)(power & (I)(x > each(-87.0f)));
}

/* scores[i][t] = query i . key t for the tokens of one tile. */
INLINE void score_tile(const hanlin_look *look, int queries, int half, int tile, float (*scores)[HANLIN_CHUNK]) {
    for (int t = 0; t < HANLIN_KEYS; t += STEP * LANES) {
        V total[QUERIES][STEP];
        UNROLL for (int i = 0; i < queries; i++)
            UNROLL for (int j = 0; j < STEP; j++) total[i][j] = (V){0};
        size_t place = (size_t)tile * HANLIN_KEYS * look->head_size + t;
        for (int32_t d = 0; d < look->head_size; d++, place += HANLIN_KEYS) {
            V key[STEP];
            UNROLL for (int j = 0; j < STEP; j++) key[j] = load_number(look->keys, place + j * LANES, half);
            UNROLL for (int i = 0; i < queries; i++) {
                V query = each(look->query[i][d]);
                UNROLL for (int j = 0; j < STEP; j++) total[i][j] += query * key[j];
            }
        }
        UNROLL for (int i = 0; i < queries; i++)
            UNROLL for (int j = 0; j < STEP; j++)
                memcpy(scores[i] + tile * HANLIN_KEYS + t + j * LANES, &total[i][j], sizeof(V));
    }
}

/* Scores to weights, those of keys that are not seen to 0; the greatest score and the sum to partial[0..1]. */
INLINE void weigh(float *scores, int32_t first, int32_t last, int32_t tokens, float scale, float *partial) {
    I lane;
    for (int i = 0; i < LANES; i++) lane[i] = i;
    V greatest = each(-INFINITY), total = {0};
    for (int32_t t = 0; t < tokens; t += LANES) {
        I place = lane + t;
        V score = choose((place >= first) & (place < last), load(scores + t) * scale, each(-INFINITY));
        memcpy(scores + t, &score, sizeof score);
        greatest = greater(score, greatest);
    }
    float most = greatest[0];
    for (int i = 1; i < LANES; i++) most = greatest[i] > most ? greatest[i] : most;
    for (int32_t t = 0; t < tokens; t += LANES) {
        V weight = exponential(load(scores + t) - most);
        memcpy(scores + t, &weight, sizeof weight);
        total += weight;
    }
    partial[0] = most;
    partial[1] = sum(total);
}

/* partial[i][2 + d] = sum over t of weight[i][t] * value[t][d], for `slice` vectors of d. */
INLINE void mix(const hanlin_look *look, int queries, int half, int slice, int32_t d, int32_t first, int32_t last,
                float (*weights)[HANLIN_CHUNK]) {
    V total[QUERIES][SLICE];
    UNROLL for (int i = 0; i < queries; i++)
        UNROLL for (int j = 0; j < slice; j++) total[i][j] = (V){0};
    for (int32_t t = first; t < last; t++) {
        size_t place = (size_t)t * look->row + d;
        V value[SLICE];
        UNROLL for (int j = 0; j < slice; j++) value[j] = load_number(look->values, place + j * LANES, half);
        UNROLL for (int i = 0; i < queries; i++) {
            V weight = each(weights[i][t]);
            UNROLL for (int j = 0; j < slice; j++) total[i][j] += weight * value[j];
        }
    }
    UNROLL for (int i = 0; i < queries; i++)
        UNROLL for (int j = 0; j < slice; j++) memcpy(look->partial[i] + 2 + d + j * LANES, &total[i][j], sizeof(V));
}

INLINE void look_by(const hanlin_look *look, int queries, int half) {
    _Alignas(64) float scores[QUERIES][HANLIN_CHUNK];
    int32_t first = look->first[0], last = look->last[0];
    for (int i = 1; i < queries; i++) {
        first = look->first[i] < first ? look->first[i] : first;
        last = look->last[i] > last ? look->last[i] : last;
    }
    int32_t tiles = (last + HANLIN_KEYS - 1) / HANLIN_KEYS;
    for (int32_t tile = 0; tile < tiles; tile++) score_tile(look, queries, half, tile, scores);
    for (int i = 0; i < queries; i++)
        weigh(scores[i], look->first[i], look->last[i], tiles * HANLIN_KEYS, look->scale, look->partial[i]);
    int32_t d = 0;
    for (; d + SLICE * LANES <= look->row; d += SLICE * LANES) mix(look, queries, half, SLICE, d, first, last, scores);
    for (; d < look->row; d += LANES) mix(look, queries, half, 1, d, first, last, scores);
}

#define CASE(n)                                             \
    case n:                                                 \
        if (n <= QUERIES) {                                 \
            if (look->half) look_by(look, n, 1);            \
            else look_by(look, n, 0);                       \
        }                                                   \
        break;

static void look(const hanlin_look *look) {
    switch (look->queries) { CASE(1) CASE(2) CASE(3) CASE(4) CASE(5) CASE(6) }
}

static void merge(float *partial, const float *other, int32_t row) {
    float most = other[0] > partial[0] ? other[0] : partial[0];
    float mine = expf(partial[0] - most), theirs = expf(other[0] - most);
    partial[0] = most;
    for (int32_t i = 1; i < 2 + row; i++) partial[i] = partial[i] * mine + other[i] * theirs;
}

static void norm(const float *x, const float *weight, float *out, int32_t size, float eps) {
    V squares = {0};
    int32_t i = 0;
    for (; i + LANES <= size; i += LANES) squares += load(x + i) * load(x + i);
    float total = sum(squares);
    for (; i < size; i++) total += x[i] * x[i];
    float scale = 1.0f / sqrtf(total / size + eps);
    for (i = 0; i < size; i++) out[i] = x[i] * scale * weight[i];
}

INLINE V gated(V gate, V up) {
    V power = exponential(choose(gate < each(-87.0f), each(87.0f), -gate));
    return gate / (1.0f + power) * up;
}

static void gate(float *gate, const float *up, int32_t size) {
    int32_t i = 0;
    for (; i + LANES <= size; i += LANES) *(V *)(gate + i) = gated(load(gate + i), load(up + i));
    if (i < size) {
        float rest[2][LANES] = {{0}};
        memcpy(rest[0], gate + i, (size - i) * sizeof(float));
        memcpy(rest[1], up + i, (size - i) * sizeof(float));
        *(V *)rest[0] = gated(load(rest[0]), load(rest[1]));
        memcpy(gate + i, rest[0], (size - i) * sizeof(float));
    }
}

static void halve(const float *x, uint16_t *out, int32_t size) {
    const V most = each(65504.0f);
    float rest[LANES] = {0};
    int32_t i = 0;
    for (; i + LANES <= size; i += LANES) {
        V value = load(x + i);
        value = choose(value > most, most, choose(value < -most, -most, value));
        store_half(out + i, value);
    }
    if (i < size) {
        uint16_t halves[LANES];
        memcpy(rest, x + i, (size - i) * sizeof(float));
        V value = load(rest);
        value = choose(value > most, most, choose(value < -most, -most, value));
        store_half(halves, value);
        memcpy(out + i, halves, (size - i) * sizeof(uint16_t));
    }
}

static const hanlin_vectors table = {QUERIES, look, merge, norm, gate, halve};
