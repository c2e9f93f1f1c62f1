/* Weights are read once and in order: asking for them ahead of time keeps the memory busy during the products. */
#ifndef HANLIN_PREFETCH_H
#define HANLIN_PREFETCH_H

#include <stddef.h>
#include <stdint.h>

enum { HANLIN_AHEAD = 1024 };

/* Ask for the `bytes` bytes that lie HANLIN_AHEAD behind `from`; returns the end of what `from` and `bytes` name. Into
 * the second-level cache: a core can wait for more lines there than in the first, and the processor's own prefetching
 * is not misled. */
static inline __attribute__((always_inline)) const uint8_t *prefetch(const uint8_t *from, size_t bytes) {
    for (size_t at = 0; at < bytes; at += 64)
        __builtin_prefetch((const void *)((uintptr_t)from + HANLIN_AHEAD + at), 0, 2);
    return from + bytes;
}

#endif
