/* Products of random shapes in memory of exactly their size, for a run under sanitizers: what lies outside is not
 * touched, and what an input gives alone it gives among others. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernel.h"

static uint32_t state = 1;

static uint32_t draw(uint32_t below) {
    state = state * 1664525u + 1013904223u;
    return (uint32_t)((uint64_t)(state >> 1) * below >> 31);
}

static void *memory(size_t size) {
    void *made = malloc(size);
    if (!made)
        abort();
    return made;
}

/* Weights as a file holds them. Half floats of any bits, so infinities and NaN too, where `wild`. */
static uint8_t *random_weights(int32_t format, size_t blocks, int wild) {
    size_t bytes = format == HANLIN_F32 ? 4 : format == HANLIN_Q8_0 ? 34 : format == HANLIN_Q4_1 ? 20 : 18;
    uint8_t *made = memory(blocks * bytes);
    for (size_t i = 0; i < blocks * bytes; i++)
        made[i] = (uint8_t)draw(256);
    for (size_t b = 0; b < blocks && !wild; b++) {
        uint8_t *block = made + b * bytes;
        if (format == HANLIN_F32) {
            float value = (float)draw(2001) / 1000 - 1;
            memcpy(block, &value, 4);
        } else
            for (size_t i = 1; i < (format == HANLIN_Q4_1 ? 4 : 2); i += 2)
                block[i] = (uint8_t)(draw(2) << 7 | draw(64)); /* at most 2 */
    }
    return made;
}

static float *random_values(size_t count, int wild) {
    float *values = memory(count * sizeof(float));
    for (size_t i = 0; i < count; i++) {
        uint32_t bits = draw(1u << 31) ^ draw(1u << 31) << 1;
        values[i] = (float)draw(2001) / 1000 - 1;
        if (wild && draw(4) == 0)
            memcpy(values + i, &bits, 4);
    }
    return values;
}

/* (N, R), freed by the caller; groups are multiplied in two parts. */
static float *multiply(const hanlin_matrix *matrix, const float *values, int32_t count) {
    hanlin_inputs inputs = {count, matrix->columns, values, NULL};
    inputs.prepared = memory(hanlin_prepared_bytes(matrix->format, count, matrix->columns));
    hanlin_prepare(matrix->format, &inputs, 0, count);
    float *out = memory(sizeof(float) * (size_t)count * (size_t)matrix->rows);
    int32_t groups = hanlin_groups(matrix), middle = (int32_t)draw((uint32_t)groups + 1);
    hanlin_multiply(matrix, &inputs, out, (size_t)matrix->rows, middle, groups);
    hanlin_multiply(matrix, &inputs, out, (size_t)matrix->rows, 0, middle);
    free(inputs.prepared);
    return out;
}

static int try_one(int32_t format, int32_t rows, int32_t columns, int32_t count, int wild) {
    size_t blocks = (size_t)rows * (size_t)columns / (format == HANLIN_F32 ? 1 : HANLIN_BLOCK);
    uint8_t *weights = random_weights(format, blocks, wild), *data = memory(hanlin_packed_bytes(format, rows, columns));
    hanlin_pack(format, rows, columns, weights, data);
    hanlin_matrix matrix = {data, rows, columns, format};
    float *values = random_values((size_t)count * (size_t)columns, wild);
    float *all = multiply(&matrix, values, count), *row = memory(sizeof(float) * (size_t)columns);
    hanlin_unpack_row(&matrix, (int32_t)draw((uint32_t)rows), row);
    int32_t n = (int32_t)draw((uint32_t)count);
    float *one = multiply(&matrix, values + (size_t)n * (size_t)columns, 1);
    int differs = !wild && memcmp(one, all + (size_t)n * (size_t)rows, sizeof(float) * (size_t)rows);
    free(weights), free(data), free(values), free(all), free(row), free(one);
    return differs;
}

int main(void) {
    static const char *const names[] = {"avx512-vnni", "avx2", "neon-dotprod", "neon", "generic"};
    static const int32_t formats[] = {HANLIN_F32, HANLIN_Q4_0, HANLIN_Q4_1, HANLIN_Q8_0};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (!hanlin_use(names[i]))
            continue;
        for (int trial = 0; trial < 400; trial++) {
            int32_t format = formats[trial % 4], rows = 1 + (int32_t)draw(70), count = 1 + (int32_t)draw(20);
            int32_t columns = format == HANLIN_F32 ? 1 + (int32_t)draw(100) : 32 * (1 + (int32_t)draw(7));
            if (try_one(format, rows, columns, count, trial % 3 == 0)) {
                printf("%s: format %d, %d x %d, %d inputs: one alone differs\n", names[i], format, rows, columns,
                       count);
                return 1;
            }
        }
    }
    return 0;
}
