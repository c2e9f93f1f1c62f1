/* The arithmetic of the network besides its matrix products, for each instruction set.
 *
 * Keys and values of one head are kept apart from others, in chunks of HANLIN_CHUNK tokens. Keys lie in tiles of
 * HANLIN_KEYS tokens, of which the same value of all stands side by side, (D, 32); values token by token, (tokens, D').
 * D' is D in whole vectors of the longest kind.
 */
#ifndef HANLIN_VECTORS_H
#define HANLIN_VECTORS_H

#include <stddef.h>
#include <stdint.h>

enum { HANLIN_KEYS = 32, HANLIN_CHUNK = 128, HANLIN_QUERIES = 8, HANLIN_LANES = 16 };

/* What some queries see of one chunk of one head's keys and values. Query i sees the keys first[i] .. last[i]-1 of the
 * chunk, and last[i] > first[i]. partial[i]: the greatest score, the sum of exp(score - greatest), and the values
 * weighted by these, (2 + D'). What one query gives does not depend on the others. */
typedef struct {
    int32_t queries, head_size, row; /* row: D' */
    int32_t half;                    /* whether keys and values are float16 */
    float scale;
    const void *keys, *values;
    const float *query[HANLIN_QUERIES];
    int32_t first[HANLIN_QUERIES], last[HANLIN_QUERIES];
    float *partial[HANLIN_QUERIES];
} hanlin_look;

typedef struct {
    int32_t queries; /* how many are best given at once, <= HANLIN_QUERIES */
    void (*look)(const hanlin_look *look);
    /* Two partial results of one query into the first. */
    void (*merge)(float *partial, const float *other, int32_t row);
    /* out = x / sqrt(mean(x^2) + eps) * weight */
    void (*norm)(const float *x, const float *weight, float *out, int32_t size, float eps);
    /* gate = silu(gate) * up */
    void (*gate)(float *gate, const float *up, int32_t size);
    /* float16, to nearest even, and the greatest finite number for what is beyond */
    void (*halve)(const float *x, uint16_t *out, int32_t size);
} hanlin_vectors;

/* Those of an instruction set; NULL where the compiler has it not. */
const hanlin_vectors *hanlin_vectors_avx512(void);
const hanlin_vectors *hanlin_vectors_avx2(void);

/* For hanlin_instructions(). */
const hanlin_vectors *hanlin_choose_vectors(void);

#endif
