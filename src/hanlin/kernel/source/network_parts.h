/* What the files of the network share. */
#ifndef HANLIN_NETWORK_PARTS_H
#define HANLIN_NETWORK_PARTS_H

#include "cache.h"
#include "network.h"
#include "threads.h"
#include "vectors.h"

/* BATCH: tokens that pass through the layers together; more are several passes. TILE: neighbouring tokens of a slot
 * that look at its keys together. */
enum { BATCH = 256, TILE = 8 };

/* Tokens first .. first+count-1 of a batch: one slot's, one after the other. */
typedef struct {
    int32_t first, count;
} hanlin_tile;

struct hanlin_network {
    hanlin_shape shape;
    hanlin_layer *layers;
    hanlin_matrix embedding, head;
    const float *norm, *head_bias;
    const float *cosines[2], *sines[2];
    int32_t turns[2];
    hanlin_team *team;
    hanlin_cache cache;
    const hanlin_vectors *vectors;

    /* The batch, and where in it we are. */
    int32_t count, layer;
    const int32_t *ids, *slots, *positions;
    hanlin_tile tiles[BATCH];
    int32_t tile_count, tile_items; /* items: looks of one head that a tile's work is cut into, 1 or one a chunk */
    hanlin_inputs inputs;
    int32_t inputs_format;

    /* Scratch, rows of BATCH tokens: the residual stream, what a sub-layer reads and gives, and what lies between. */
    uint8_t *scratch;
    size_t scratch_bytes;
    float *residual, *normed, *given, *query, *key, *value, *mixed, *gate, *up;
    float *partials;
    int32_t *left; /* looks that are not done yet, for each tile and head */
    uint8_t *prepared;
};

/* attention.c: numbers that a partial result takes, and that all partial results of a batch take at most. */
size_t hanlin_partial_size(const hanlin_network *network);
size_t hanlin_partials(const hanlin_network *network);

/* Divide the batch into tiles. */
void hanlin_tile_batch(hanlin_network *network);

/* Queries and keys of the current layer turned, keys and values written to the cache: tokens first .. last-1. */
void hanlin_remember(hanlin_network *network, int32_t first, int32_t last);

/* network->mixed from network->query and the cache, in the current layer. */
void hanlin_attend(hanlin_network *network);

#endif
