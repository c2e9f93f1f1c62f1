/* Keys and values of the tokens that slots hold. */
#ifndef HANLIN_CACHE_H
#define HANLIN_CACHE_H

#include <stddef.h>
#include <stdint.h>

/* Of each slot, layer by layer and head by head, first keys, then values, as vectors.h has them. Memory is reserved at
 * once, and taken where it is written to. */
typedef struct {
    uint8_t *memory;
    size_t size, slot_bytes, key_bytes, value_bytes; /* the last two of one head */
    int32_t slots, layers, heads, head_size, row, number_bytes;
} hanlin_cache;

/* 0, or -1 where there is no memory. half: float16, not float32. */
int hanlin_cache_open(hanlin_cache *cache, int32_t slots, int32_t layers, int32_t heads, int32_t head_size,
                      int32_t window, int32_t half);
void hanlin_cache_close(hanlin_cache *cache);

uint8_t *hanlin_cache_keys(const hanlin_cache *cache, int32_t slot, int32_t layer, int32_t head);
uint8_t *hanlin_cache_values(const hanlin_cache *cache, int32_t slot, int32_t layer, int32_t head);

/* One token's key and value at their place: numbers in the cache's format, (D) and (D'). */
void hanlin_cache_write(const hanlin_cache *cache, int32_t slot, int32_t layer, int32_t head, int32_t position,
                        const void *key, const void *value);

/* The first `length` tokens of `source`, in one layer. */
void hanlin_cache_copy(const hanlin_cache *cache, int32_t source, int32_t target, int32_t layer, int32_t length);

/* Give back the whole pages that a slot's tokens after the first `length` took. */
void hanlin_cache_release(const hanlin_cache *cache, int32_t slot, int32_t length);

#endif
