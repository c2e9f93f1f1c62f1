#define _GNU_SOURCE
#include "cache.h"

#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "vectors.h"

enum { PAGE = 4096 };

#ifndef MAP_NORESERVE
#define MAP_NORESERVE 0
#endif

static size_t whole(size_t number, size_t unit) { return (number + unit - 1) / unit * unit; }

int hanlin_cache_open(hanlin_cache *cache, int32_t slots, int32_t layers, int32_t heads, int32_t head_size,
                      int32_t window, int32_t half) {
    size_t tokens = whole(window, HANLIN_KEYS), number = half ? 2 : 4;
    cache->row = whole(head_size, HANLIN_LANES);
    cache->slots = slots, cache->layers = layers, cache->heads = heads, cache->head_size = head_size;
    cache->number_bytes = number;
    cache->key_bytes = tokens * head_size * number;
    cache->value_bytes = tokens * cache->row * number;
    cache->slot_bytes = whole((cache->key_bytes + cache->value_bytes) * layers * heads, PAGE);
    cache->size = cache->slot_bytes * slots;
    void *memory =
        mmap(NULL, cache->size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    cache->memory = memory == MAP_FAILED ? NULL : memory;
    return cache->memory ? 0 : -1;
}

void hanlin_cache_close(hanlin_cache *cache) {
    if (cache->memory) munmap(cache->memory, cache->size);
}

uint8_t *hanlin_cache_keys(const hanlin_cache *cache, int32_t slot, int32_t layer, int32_t head) {
    size_t place = (size_t)layer * cache->heads + head;
    return cache->memory + slot * cache->slot_bytes + place * (cache->key_bytes + cache->value_bytes);
}

uint8_t *hanlin_cache_values(const hanlin_cache *cache, int32_t slot, int32_t layer, int32_t head) {
    return hanlin_cache_keys(cache, slot, layer, head) + cache->key_bytes;
}

void hanlin_cache_write(const hanlin_cache *cache, int32_t slot, int32_t layer, int32_t head, int32_t position,
                        const void *key, const void *value) {
    size_t tile = (size_t)(position / HANLIN_KEYS) * HANLIN_KEYS * cache->head_size + position % HANLIN_KEYS;
    uint8_t *keys = hanlin_cache_keys(cache, slot, layer, head);
    if (cache->number_bytes == 2)
        for (int32_t d = 0; d < cache->head_size; d++)
            ((uint16_t *)keys)[tile + (size_t)d * HANLIN_KEYS] = ((const uint16_t *)key)[d];
    else
        for (int32_t d = 0; d < cache->head_size; d++)
            ((float *)keys)[tile + (size_t)d * HANLIN_KEYS] = ((const float *)key)[d];
    size_t row_bytes = (size_t)cache->row * cache->number_bytes;
    memcpy(keys + cache->key_bytes + position * row_bytes, value, row_bytes);
}

void hanlin_cache_copy(const hanlin_cache *cache, int32_t source, int32_t target, int32_t layer, int32_t length) {
    size_t keys = whole(length, HANLIN_KEYS) * cache->head_size * cache->number_bytes;
    size_t values = (size_t)length * cache->row * cache->number_bytes;
    for (int32_t head = 0; head < cache->heads; head++) {
        memcpy(hanlin_cache_keys(cache, target, layer, head), hanlin_cache_keys(cache, source, layer, head), keys);
        memcpy(hanlin_cache_values(cache, target, layer, head), hanlin_cache_values(cache, source, layer, head),
               values);
    }
}

/* The pages that lie between two places, without those that reach beyond. */
static void give_back(uint8_t *first, uint8_t *end) {
    size_t page = sysconf(_SC_PAGESIZE), begin = whole((uintptr_t)first, page), stop = (uintptr_t)end / page * page;
    if (begin < stop) madvise((void *)begin, stop - begin, MADV_DONTNEED);
}

void hanlin_cache_release(const hanlin_cache *cache, int32_t slot, int32_t length) {
    size_t kept_keys = whole(length, HANLIN_KEYS) * cache->head_size * cache->number_bytes;
    size_t kept_values = (size_t)length * cache->row * cache->number_bytes;
    if (!length) {
        give_back(cache->memory + slot * cache->slot_bytes, cache->memory + (slot + 1) * cache->slot_bytes);
        return;
    }
    for (int32_t layer = 0; layer < cache->layers; layer++)
        for (int32_t head = 0; head < cache->heads; head++) {
            uint8_t *keys = hanlin_cache_keys(cache, slot, layer, head), *values = keys + cache->key_bytes;
            give_back(keys + kept_keys, values);
            give_back(values + kept_values, values + cache->value_bytes);
        }
}
