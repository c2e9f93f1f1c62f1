/* Matrices: packing, and products with inputs in tiles. What differs between instruction sets is in multiply_*.c. */
#include "matrix.h"

#include <stdatomic.h>
#include <string.h>

static const hanlin_code *_Atomic chosen;

typedef const hanlin_code *hanlin_find(void);

/* From the best down; the last is everywhere. */
static hanlin_find *const finders[] = {hanlin_avx512, hanlin_avx2, hanlin_dotprod, hanlin_neon, hanlin_generic};
enum { FINDERS = sizeof(finders) / sizeof(finders[0]) };

static const hanlin_code *code(void) {
    const hanlin_code *found = atomic_load_explicit(&chosen, memory_order_relaxed);
    if (found)
        return found;
    for (int i = 0; !found; i++)
        found = finders[i]();
    atomic_store_explicit(&chosen, found, memory_order_relaxed);
    return found;
}

const char *hanlin_instructions(void) { return code()->name; }

int32_t hanlin_use(const char *instructions) {
    for (int i = 0; i < FINDERS; i++) {
        const hanlin_code *found = finders[i]();
        if (found && strcmp(found->name, instructions) == 0) {
            atomic_store_explicit(&chosen, found, memory_order_relaxed);
            return 1;
        }
    }
    return 0;
}

/* ---- packing */

static int is_block_format(int32_t format) {
    return format == HANLIN_Q4_0 || format == HANLIN_Q4_1 || format == HANLIN_Q8_0;
}

/* Bytes of a block of 32 columns of one row in GGUF. */
static size_t gguf_block_bytes(int32_t format) {
    return format == HANLIN_Q8_0 ? 34 : format == HANLIN_Q4_1 ? 20 : 18;
}

size_t hanlin_packed_bytes(int32_t format, int32_t rows, int32_t columns) {
    if (rows < 1 || columns < 1 || (format != HANLIN_F32 && !(is_block_format(format) && columns % HANLIN_BLOCK == 0)))
        return 0;
    size_t groups = ((size_t)rows + HANLIN_GROUP - 1) / HANLIN_GROUP;
    return groups * group_bytes(format, columns);
}

/* Where the value of row r (of a group) and column c (of a block) lies in a packed block of int8 or of half bytes. */
static size_t place_of(int r, int c) { return (size_t)(c / 4 * 64 + r * 4 + c % 4); }
static size_t place_of_half(int r, int c) { return (size_t)(c / 8 * 64 + r * 4 + c % 4); }

static void pack_block(int32_t format, int r, const uint8_t *source, uint8_t *scales, uint8_t *values) {
    memcpy(scales + 2 * r, source, 2);
    if (format == HANLIN_Q8_0) {
        for (int c = 0; c < HANLIN_BLOCK; c += 4)
            memcpy(values + place_of(r, c), source + 2 + c, 4);
        return;
    }
    if (format == HANLIN_Q4_1)
        memcpy(scales + 2 * (HANLIN_GROUP + r), source + 2, 2);
    const uint8_t *halves = source + (format == HANLIN_Q4_1 ? 4 : 2);
    for (int c = 0; c < HANLIN_BLOCK; c++) {
        int value = c < 16 ? halves[c] & 15 : halves[c - 16] >> 4;
        values[place_of_half(r, c)] |= (uint8_t)(c / 4 % 2 ? value << 4 : value);
    }
}

void hanlin_pack(int32_t format, int32_t rows, int32_t columns, const void *source, uint8_t *target) {
    memset(target, 0, hanlin_packed_bytes(format, rows, columns));
    const uint8_t *from = source;
    for (int32_t row = 0; row < rows; row++) {
        uint8_t *group = target + (size_t)(row / HANLIN_GROUP) * group_bytes(format, columns);
        int r = row % HANLIN_GROUP;
        for (int32_t b = 0; b < blocks_in(format, columns); b++)
            if (format == HANLIN_F32) {
                memcpy(group + ((size_t)b * HANLIN_GROUP + (size_t)r) * 4, from, 4);
                from += 4;
            } else {
                pack_block(format, r, from, (uint8_t *)packed_scales(format, group, b),
                           (uint8_t *)packed_values(format, group, b));
                from += gguf_block_bytes(format);
            }
    }
}

static void unpack_block(int32_t format, int r, const uint8_t *scales, const uint8_t *values, float *target) {
    float scale = hanlin_half(scales + 2 * r);
    float minimum = format == HANLIN_Q4_1 ? hanlin_half(scales + 2 * (HANLIN_GROUP + r)) : 0;
    for (int c = 0; c < HANLIN_BLOCK; c++)
        if (format == HANLIN_Q8_0)
            target[c] = scale * (float)(int8_t)values[place_of(r, c)];
        else {
            int value = values[place_of_half(r, c)] >> (c / 4 % 2 ? 4 : 0) & 15;
            target[c] = scale * (float)(format == HANLIN_Q4_0 ? value - 8 : value);
        }
    if (format == HANLIN_Q4_1) /* apart, so that the product is rounded first, as in GGUF's readers */
        for (int c = 0; c < HANLIN_BLOCK; c++)
            target[c] += minimum;
}

void hanlin_unpack_row(const hanlin_matrix *matrix, int32_t row, float *target) {
    int32_t format = matrix->format;
    const uint8_t *group = matrix->data + (size_t)(row / HANLIN_GROUP) * group_bytes(format, matrix->columns);
    int r = row % HANLIN_GROUP;
    for (int32_t b = 0; b < blocks_in(format, matrix->columns); b++)
        if (format == HANLIN_F32)
            memcpy(target + b, group + ((size_t)b * HANLIN_GROUP + (size_t)r) * 4, 4);
        else
            unpack_block(format, r, packed_scales(format, group, b), packed_values(format, group, b),
                         target + (size_t)b * HANLIN_BLOCK);
}

/* ---- inputs */

static int width_of(const hanlin_inputs *inputs) { return inputs->count < HANLIN_TILE ? inputs->count : HANLIN_TILE; }

static size_t tile_bytes(int32_t format, int width, int32_t columns) {
    size_t bytes = format == HANLIN_F32 ? sizeof(float) : HANLIN_TILE_BLOCK_BYTES;
    return bytes * (size_t)width * (size_t)blocks_in(format, columns);
}

size_t hanlin_prepared_bytes(int32_t format, int32_t count, int32_t columns) {
    if (count < HANLIN_TILE)
        return tile_bytes(format, count, columns);
    return ((size_t)count + HANLIN_TILE - 1) / HANLIN_TILE * tile_bytes(format, HANLIN_TILE, columns);
}

static void prepare_block(const float *values, uint8_t *block, int width, int n) {
    int8_t *rounded = (int8_t *)block + n * HANLIN_BLOCK;
    float scale = code()->round_block(values, rounded);
    int32_t sum = 0;
    for (int i = 0; i < HANLIN_BLOCK; i++)
        sum += rounded[i];
    ((float *)tile_scales(block, width))[n] = scale;
    ((int32_t *)tile_minus_8(block, width))[n] = -8 * sum;
    ((int32_t *)tile_minus_128(block, width))[n] = -128 * sum;
    ((float *)tile_scaled_sums(block, width))[n] = scale * (float)sum;
}

void hanlin_prepare(int32_t format, const hanlin_inputs *inputs, int32_t first, int32_t last) {
    int width = width_of(inputs);
    for (int32_t i = first; i < last; i++) {
        const float *values = inputs->values + (size_t)i * (size_t)inputs->columns;
        uint8_t *tile = inputs->prepared + (size_t)(i / HANLIN_TILE) * tile_bytes(format, width, inputs->columns);
        int n = i % HANLIN_TILE;
        if (format == HANLIN_F32)
            for (int32_t c = 0; c < inputs->columns; c++)
                ((float *)tile)[(size_t)c * (size_t)width + (size_t)n] = values[c];
        else
            for (int32_t b = 0; b < inputs->columns / HANLIN_BLOCK; b++, tile += HANLIN_TILE_BLOCK_BYTES * width)
                prepare_block(values + (size_t)b * HANLIN_BLOCK, tile, width, n);
    }
}

/* ---- products */

/* Inputs are taken in so many bytes at a time: what stays in the second-level cache while the groups pass by. */
enum { CACHED_INPUT_BYTES = 1 << 18 };

static void multiply_group(const hanlin_matrix *matrix, const hanlin_inputs *inputs, float *out, size_t stride,
                           int32_t group, int32_t first_tile, int32_t last_tile) {
    int width = width_of(inputs);
    size_t bytes = tile_bytes(matrix->format, width, matrix->columns);
    const uint8_t *packed = matrix->data + (size_t)group * group_bytes(matrix->format, matrix->columns);
    int32_t row = group * HANLIN_GROUP, rows = matrix->rows - row < HANLIN_GROUP ? matrix->rows - row : HANLIN_GROUP;
    for (int32_t tile = first_tile; tile < last_tile; tile++) {
        float sums[HANLIN_TILE * HANLIN_GROUP];
        int32_t first = tile * HANLIN_TILE, left = inputs->count - first;
        int used = left < HANLIN_TILE ? left : HANLIN_TILE;
        code()->multiply_tile(matrix->format, matrix->columns, packed, inputs->prepared + (size_t)tile * bytes, width,
                              used, sums);
        for (int n = 0; n < used; n++)
            memcpy(out + (size_t)(first + n) * stride + row, sums + n * HANLIN_GROUP, sizeof(float) * (size_t)rows);
    }
}

void hanlin_multiply(const hanlin_matrix *matrix, const hanlin_inputs *inputs, float *out, size_t stride, int32_t first,
                     int32_t last) {
    int32_t tiles = (inputs->count + HANLIN_TILE - 1) / HANLIN_TILE;
    size_t bytes = tile_bytes(matrix->format, width_of(inputs), matrix->columns);
    int32_t at_once = bytes < CACHED_INPUT_BYTES ? (int32_t)(CACHED_INPUT_BYTES / bytes) : 1;
    for (int32_t tile = 0; tile < tiles; tile += at_once)
        for (int32_t group = first; group < last; group++)
            multiply_group(matrix, inputs, out, stride, group, tile, tiles - tile < at_once ? tiles : tile + at_once);
}
