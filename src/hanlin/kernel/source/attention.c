/* Attention over the cache: softmax(q k / sqrt(D)) v, chunk by chunk of keys (arXiv 1706.03762, eq. 1; in parts as in
 * arXiv 2205.14135, section 3.1). The chunks lie fixed and their results are put together in order, whoever made them
 * and for whichever queries beside, so that a token's result is always the same. */
#include <math.h>
#include <string.h>

#include "network_parts.h"

/* For few tokens, each chunk is an item of its own, as long as there are fewer items than would keep a team busy. */
enum { BUSY = 8 };

static int32_t smaller(int32_t a, int32_t b) { return a < b ? a : b; }
static int32_t greater(int32_t a, int32_t b) { return a > b ? a : b; }

static int32_t chunks_in(int32_t tokens) { return (tokens + HANLIN_CHUNK - 1) / HANLIN_CHUNK; }

size_t hanlin_partial_size(const hanlin_network *network) { return 2 + network->cache.row; }

size_t hanlin_partials(const hanlin_network *network) {
    const hanlin_shape *shape = &network->shape;
    int32_t split_tiles = smaller(BATCH, BUSY * shape->threads / shape->kv_heads + 1);
    size_t split = (size_t)split_tiles * TILE * chunks_in(shape->window);
    return (split > BATCH ? split : BATCH) * shape->heads;
}

void hanlin_tile_batch(hanlin_network *network) {
    hanlin_tile *tile = NULL;
    int32_t longest = 0, tiles = 0;
    for (int32_t i = 0; i < network->count; i++) {
        int32_t follows = i && network->slots[i] == network->slots[i - 1];
        if (!follows || tile->count == TILE) {
            tile = &network->tiles[tiles++];
            *tile = (hanlin_tile){i, 0};
        }
        tile->count++;
        longest = greater(longest, network->positions[i] + 1);
    }
    network->tile_count = tiles;
    int32_t few = tiles * network->shape.kv_heads < BUSY * network->shape.threads;
    network->tile_items = few ? chunks_in(longest) : 1;
}

/* ---- Before: rotations (arXiv 2104.09864, eq. 34), and what is remembered */

static inline void turn_pair(float *first, float *second, float cosine, float sine) {
    float a = *first, b = *second;
    *first = a * cosine - b * sine;
    *second = b * cosine + a * sine;
}

static void turn(const hanlin_network *network, float *x, int32_t position) {
    int32_t half = network->shape.rotary / 2, table = network->layers[network->layer].table;
    const float *cosine = network->cosines[table] + (size_t)position * half;
    const float *sine = network->sines[table] + (size_t)position * half;
    if (network->shape.neighbours) {
        for (int32_t i = 0; i < half; i++) turn_pair(&x[2 * i], &x[2 * i + 1], cosine[i], sine[i]);
    } else {
        for (int32_t i = 0; i < half; i++) turn_pair(&x[i], &x[i + half], cosine[i], sine[i]);
    }
}

static void add(float *x, const float *bias, int32_t size) {
    if (bias)
        for (int32_t i = 0; i < size; i++) x[i] += bias[i];
}

static void prepare_heads(const hanlin_network *network, float *x, int32_t heads, const float *norm, int32_t position) {
    int32_t D = network->shape.head_size;
    for (int32_t head = 0; head < heads; head++, x += D) {
        if (norm) network->vectors->norm(x, norm, x, D, network->shape.norm_eps);
        turn(network, x, position);
    }
}

void hanlin_remember(hanlin_network *network, int32_t first, int32_t last) {
    const hanlin_shape *shape = &network->shape;
    const hanlin_layer *layer = &network->layers[network->layer];
    int32_t D = shape->head_size, queries = shape->heads * D, keys = shape->kv_heads * D, row = network->cache.row;
    float whole[row];
    uint16_t halves[2][row];
    memset(whole, 0, sizeof whole);
    memset(halves, 0, sizeof halves);
    for (int32_t i = first; i < last; i++) {
        float *query = network->query + (size_t)i * queries;
        float *key = network->key + (size_t)i * keys, *value = network->value + (size_t)i * keys;
        add(query, layer->query_bias, queries);
        add(key, layer->key_bias, keys);
        add(value, layer->value_bias, keys);
        prepare_heads(network, query, shape->heads, layer->query_norm, network->positions[i]);
        prepare_heads(network, key, shape->kv_heads, layer->key_norm, network->positions[i]);
        for (int32_t head = 0; head < shape->kv_heads; head++, key += D, value += D) {
            const void *stored_key = key, *stored_value = memcpy(whole, value, D * sizeof(float));
            if (shape->half_cache) {
                network->vectors->halve(key, halves[0], D);
                network->vectors->halve(value, halves[1], D);
                stored_key = halves[0], stored_value = halves[1];
            }
            hanlin_cache_write(&network->cache, network->slots[i], network->layer, head, network->positions[i],
                               stored_key, stored_value);
        }
    }
}

/* ---- Looking */

/* The first key that a query at `position` sees. */
static int32_t first_seen(const hanlin_network *network, int32_t position) {
    int32_t window = network->layers[network->layer].window;
    return window ? greater(0, position - window + 1) : 0;
}

/* Where the partial result of chunk `chunk` of (token, query head) lies. */
static float *partial_of(const hanlin_network *network, int32_t token, int32_t head, int32_t chunk) {
    size_t place = ((size_t)token * network->shape.heads + head) * network->tile_items + chunk;
    return network->partials + place * hanlin_partial_size(network);
}

/* Whether a token sees anything of a chunk, and from where to where. */
static int32_t sees(const hanlin_network *network, int32_t token, int32_t chunk, int32_t *first, int32_t *last) {
    int32_t position = network->positions[token], start = chunk * HANLIN_CHUNK;
    *first = greater(0, first_seen(network, position) - start);
    *last = smaller(HANLIN_CHUNK, position + 1 - start);
    return *first < *last;
}

static void look_and_merge(const hanlin_network *network, const hanlin_look *look, float *const *results,
                           const int32_t *merged) {
    network->vectors->look(look);
    for (int32_t i = 0; i < look->queries; i++)
        if (merged[i]) network->vectors->merge(results[i], look->partial[i], look->row);
}

/* One chunk of one key head, for all queries of a tile. Each one's result goes to its place, or, where `whole`, into
 * what the chunks before gave. */
static void look_at_chunk(const hanlin_network *network, const hanlin_tile *tile, int32_t head, int32_t chunk,
                          int32_t whole) {
    const hanlin_shape *shape = &network->shape;
    const hanlin_cache *cache = &network->cache;
    int32_t slot = network->slots[tile->first], each = shape->heads / shape->kv_heads;
    size_t start = (size_t)chunk * HANLIN_CHUNK * cache->number_bytes;
    hanlin_look look = {
        .head_size = shape->head_size,
        .row = cache->row,
        .half = shape->half_cache,
        .scale = shape->attention_scale,
        .keys = hanlin_cache_keys(cache, slot, network->layer, head) + start * shape->head_size,
        .values = hanlin_cache_values(cache, slot, network->layer, head) + start * cache->row,
    };
    float further[HANLIN_QUERIES][2 + cache->row], *results[HANLIN_QUERIES];
    int32_t merged[HANLIN_QUERIES];
    for (int32_t i = 0; i < tile->count * each; i++) {
        int32_t token = tile->first + i / each, query = head * each + i % each, at = look.queries;
        if (!sees(network, token, chunk, &look.first[at], &look.last[at])) continue;
        look.query[at] = network->query + ((size_t)token * shape->heads + query) * shape->head_size;
        results[at] = partial_of(network, token, query, whole ? 0 : chunk);
        merged[at] = whole && chunk > first_seen(network, network->positions[token]) / HANLIN_CHUNK;
        look.partial[at] = merged[at] ? further[at] : results[at];
        if (++look.queries < network->vectors->queries) continue;
        look_and_merge(network, &look, results, merged);
        look.queries = 0;
    }
    if (look.queries) look_and_merge(network, &look, results, merged);
}

/* The results of all chunks in order, and what is mixed from them. */
static void finish(const hanlin_network *network, const hanlin_tile *tile, int32_t head) {
    int32_t each = network->shape.heads / network->shape.kv_heads, D = network->shape.head_size;
    for (int32_t i = 0; i < tile->count * each; i++) {
        int32_t token = tile->first + i / each, query = head * each + i % each, position = network->positions[token];
        int32_t chunk = network->tile_items == 1 ? 0 : first_seen(network, position) / HANLIN_CHUNK;
        float *result = partial_of(network, token, query, chunk);
        if (network->tile_items > 1)
            for (chunk++; chunk <= position / HANLIN_CHUNK; chunk++)
                network->vectors->merge(result, partial_of(network, token, query, chunk), network->cache.row);
        float *mixed = network->mixed + ((size_t)token * network->shape.heads + query) * D, share = 1 / result[1];
        for (int32_t d = 0; d < D; d++) mixed[d] = result[2 + d] * share;
    }
}

static void look_at(void *context, int32_t part) {
    hanlin_network *network = context;
    int32_t items = network->tile_items, chunk = part % items, pair = part / items;
    const hanlin_tile *tile = &network->tiles[pair / network->shape.kv_heads];
    int32_t head = pair % network->shape.kv_heads;
    int32_t first = first_seen(network, network->positions[tile->first]) / HANLIN_CHUNK;
    int32_t last = network->positions[tile->first + tile->count - 1] / HANLIN_CHUNK;
    if (items == 1)
        for (chunk = first; chunk <= last; chunk++) look_at_chunk(network, tile, head, chunk, 1);
    else if (chunk >= first && chunk <= last)
        look_at_chunk(network, tile, head, chunk, 0);
    if (__atomic_sub_fetch(&network->left[pair], 1, __ATOMIC_ACQ_REL) == 0) finish(network, tile, head);
}

void hanlin_attend(hanlin_network *network) {
    int32_t pairs = network->tile_count * network->shape.kv_heads;
    for (int32_t i = 0; i < pairs; i++) network->left[i] = network->tile_items;
    hanlin_team_run(network->team, look_at, network, pairs * network->tile_items);
}
