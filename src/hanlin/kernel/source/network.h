/* A Llama-like decoder: RMSNorm before each sub-layer, rotary positions, grouped heads, a gated SiLU feed-forward. */
#ifndef HANLIN_NETWORK_H
#define HANLIN_NETWORK_H

#include "kernel.h"

/* slots: texts held at once, of at most `window` tokens each. rotary: values of a head that turn, in pairs of
 * neighbours or of halves. half_cache: keys and values in float16, not float32. */
typedef struct {
    int32_t vocab_size, width, layers, heads, kv_heads, head_size, ffn_width;
    int32_t slots, window, rotary, neighbours, half_cache, threads;
    float norm_eps, attention_scale, embedding_scale;
} hanlin_shape;

/* Of matrices that share an input, all are of block formats or none is. Vectors are float32; biases and head norms may
 * be NULL. window: tokens that a query sees, itself included; 0 for all. table: which rotations turn it, 0 or 1. */
typedef struct {
    hanlin_matrix query, key, value, output, gate, up, down;
    const float *attention_norm, *ffn_norm, *query_norm, *key_norm;
    const float *query_bias, *key_bias, *value_bias, *output_bias, *gate_bias, *up_bias, *down_bias;
    int32_t window, table;
} hanlin_layer;

typedef struct hanlin_network hanlin_network;

enum { HANLIN_OK = 0, HANLIN_OUT_OF_RANGE = 1 };

/* NULL where there is no memory. The description is copied; what it points to must stay. */
HANLIN_API hanlin_network *hanlin_network_new(const hanlin_shape *shape, const hanlin_layer *layers,
                                              const hanlin_matrix *embedding, const hanlin_matrix *head,
                                              const float *norm, const float *head_bias);
HANLIN_API void hanlin_network_free(hanlin_network *network);

/* The rotations of table `table` for the first `positions` positions: (positions, rotary / 2) each. They must stay. */
HANLIN_API void hanlin_network_turns(hanlin_network *network, int32_t table, const float *cosines, const float *sines,
                                     int32_t positions);

/* One pass over `count` tokens, each with its slot and its position there; those of one slot come in the order of
 * their positions, and all before must have been given. `logits` receives what comes after the tokens number `wanted`
 * (ascending): (wanted_count, vocab_size). What a token gives depends neither on the others in the call nor on the
 * number of threads: not in its last bit. Returns HANLIN_OK or what is wrong; then nothing was done. */
HANLIN_API int32_t hanlin_network_forward(hanlin_network *network, int32_t count, const int32_t *ids,
                                          const int32_t *slots, const int32_t *positions, int32_t wanted_count,
                                          const int32_t *wanted, float *logits);

/* Let `target` hold what `source` holds of its first `length` tokens. */
HANLIN_API void hanlin_network_copy(hanlin_network *network, int32_t source, int32_t target, int32_t length);

/* Give the memory of all but a slot's first `length` tokens back to the system. */
HANLIN_API void hanlin_network_release(hanlin_network *network, int32_t slot, int32_t length);

/* Bytes that one cached token takes, and threads that the system has given. */
HANLIN_API size_t hanlin_network_token_bytes(const hanlin_network *network);
HANLIN_API int32_t hanlin_network_threads(const hanlin_network *network);

#endif
