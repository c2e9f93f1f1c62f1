/* The memory of a decoder: made, freed, and that of its slots. */
#define _GNU_SOURCE
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "network_parts.h"

typedef struct {
    void **place;
    size_t bytes;
} room;

static size_t most(size_t a, size_t b) { return a > b ? a : b; }

/* The greatest prepared inputs: of float32 or of blocks. */
static size_t prepared_bytes(const hanlin_shape *shape) {
    size_t columns[] = {shape->width, (size_t)shape->heads * shape->head_size, shape->ffn_width}, bytes = 0;
    for (int i = 0; i < 3; i++) {
        bytes = most(bytes, hanlin_prepared_bytes(HANLIN_F32, BATCH, columns[i]));
        bytes = most(bytes, hanlin_prepared_bytes(HANLIN_Q8_0, BATCH, columns[i]));
    }
    return bytes;
}

/* One piece of memory for all, of which pages are taken when they are used. */
static int32_t reserve_scratch(hanlin_network *network) {
    const hanlin_shape *shape = &network->shape;
    size_t row = BATCH * sizeof(float), queries = row * shape->heads * shape->head_size;
    size_t keys = row * shape->kv_heads * shape->head_size;
    room rooms[] = {
        {(void **)&network->residual, row * shape->width},
        {(void **)&network->normed, row * shape->width},
        {(void **)&network->given, row * shape->width},
        {(void **)&network->query, queries},
        {(void **)&network->key, keys},
        {(void **)&network->value, keys},
        {(void **)&network->mixed, queries},
        {(void **)&network->gate, row * shape->ffn_width},
        {(void **)&network->up, row * shape->ffn_width},
        {(void **)&network->partials, hanlin_partials(network) * hanlin_partial_size(network) * sizeof(float)},
        {(void **)&network->left, sizeof(int32_t) * BATCH * shape->kv_heads},
        {(void **)&network->prepared, prepared_bytes(shape)},
    };
    int count = sizeof rooms / sizeof *rooms;
    for (int i = 0; i < count; i++) network->scratch_bytes += (rooms[i].bytes + 127) / 64 * 64;
    uint8_t *memory =
        mmap(NULL, network->scratch_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) return 0;
    network->scratch = memory;
    for (int i = 0; i < count; memory += (rooms[i++].bytes + 127) / 64 * 64) *rooms[i].place = memory;
    return 1;
}

hanlin_network *hanlin_network_new(const hanlin_shape *shape, const hanlin_layer *layers,
                                   const hanlin_matrix *embedding, const hanlin_matrix *head, const float *norm,
                                   const float *head_bias) {
    hanlin_network *network = calloc(1, sizeof *network);
    if (!network) return NULL;
    network->shape = *shape;
    network->embedding = *embedding, network->head = *head;
    network->norm = norm, network->head_bias = head_bias;
    network->layers = malloc(sizeof *layers * shape->layers);
    network->team = hanlin_team_new(shape->threads);
    int cached = hanlin_cache_open(&network->cache, shape->slots, shape->layers, shape->kv_heads, shape->head_size,
                                   shape->window, shape->half_cache);
    if (!network->layers || !network->team || cached < 0 || !reserve_scratch(network)) {
        hanlin_network_free(network);
        return NULL;
    }
    memcpy(network->layers, layers, sizeof *layers * shape->layers);
    return network;
}

void hanlin_network_free(hanlin_network *network) {
    if (!network) return;
    hanlin_team_free(network->team);
    hanlin_cache_close(&network->cache);
    if (network->scratch) munmap(network->scratch, network->scratch_bytes);
    free(network->layers);
    free(network);
}

void hanlin_network_turns(hanlin_network *network, int32_t table, const float *cosines, const float *sines,
                          int32_t positions) {
    network->cosines[table] = cosines;
    network->sines[table] = sines;
    network->turns[table] = positions;
}

/* ---- Slots */

typedef struct {
    const hanlin_cache *cache;
    int32_t source, target, length;
} copy_work;

static void copy_layer(void *context, int32_t layer) {
    const copy_work *work = context;
    hanlin_cache_copy(work->cache, work->source, work->target, layer, work->length);
}

void hanlin_network_copy(hanlin_network *network, int32_t source, int32_t target, int32_t length) {
    copy_work work = {&network->cache, source, target, length};
    hanlin_team_revive(network->team);
    hanlin_team_run(network->team, copy_layer, &work, network->shape.layers);
}

void hanlin_network_release(hanlin_network *network, int32_t slot, int32_t length) {
    hanlin_cache_release(&network->cache, slot, length);
}

size_t hanlin_network_token_bytes(const hanlin_network *network) {
    const hanlin_cache *cache = &network->cache;
    return (size_t)(cache->head_size + cache->row) * cache->number_bytes * cache->heads * cache->layers;
}

int32_t hanlin_network_threads(const hanlin_network *network) { return hanlin_team_size(network->team); }
