/* Random small decoders, and random calls of them, in memory of exactly their size: for a run under sanitizers. What
 * any mix of chunks gives must be what one token after the other gives. */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "network.h"

enum { SLOTS = 3, WINDOW = 300, VOCABULARY = 50, LAYERS = 2 };

static uint32_t state = 1;

static int32_t below(int32_t limit) {
    state = state * 1664525u + 1013904223u;
    return (int32_t)((state >> 8) % (uint32_t)limit);
}

static float *floats(int32_t count, float around) {
    float *values = malloc(sizeof(float) * count);
    for (int32_t i = 0; i < count; i++) values[i] = around + (below(2001) - 1000) * 3e-4f;
    return values;
}

/* Of Q8_0, with GGUF's blocks of a half float scale and 32 int8; or float32. */
static hanlin_matrix matrix(int32_t rows, int32_t columns, int32_t format) {
    size_t size = hanlin_packed_bytes(format, rows, columns);
    uint8_t *data = aligned_alloc(64, size), *source = (uint8_t *)floats(rows * columns, 0);
    if (format == HANLIN_Q8_0)
        for (int32_t i = 0; i < rows * columns / 32; i++) {
            uint8_t *block = source + 34 * i;
            for (int32_t j = 2; j < 34; j++) block[j] = (uint8_t)below(256);
            block[0] = 0, block[1] = 0x18; /* 2^-9 */
        }
    hanlin_pack(format, rows, columns, source, data);
    free(source);
    return (hanlin_matrix){data, rows, columns, format};
}

typedef struct {
    hanlin_shape shape;
    hanlin_layer layers[LAYERS];
    hanlin_matrix embedding, head;
    float *norm, *cosines, *sines;
} model;

static model random_model(void) {
    int32_t blocks = below(2), format = blocks ? HANLIN_Q8_0 : HANLIN_F32, unit = blocks ? 32 : 4;
    int32_t groups = 1 + below(3), D = unit * (1 + below(2)), keys = 1 + below(2), F = unit * (1 + below(4));
    int32_t C = unit * (1 + below(3)), H = keys * groups;
    model m = {.shape = {VOCABULARY, C, LAYERS, H, keys, D, F, SLOTS, WINDOW, D, below(2), below(2), 1, 1e-5f, 0.2f, 1}};
    for (int32_t i = 0; i < LAYERS; i++) {
        hanlin_layer *layer = &m.layers[i];
        layer->query = matrix(H * D, C, format), layer->key = matrix(keys * D, C, format);
        layer->value = matrix(keys * D, C, format), layer->output = matrix(C, H * D, format);
        layer->gate = matrix(F, C, format), layer->up = matrix(F, C, format), layer->down = matrix(C, F, format);
        layer->attention_norm = floats(C, 1), layer->ffn_norm = floats(C, 1);
        if (below(2)) layer->query_norm = floats(D, 1), layer->key_norm = floats(D, 1);
        if (below(2)) layer->query_bias = floats(H * D, 0), layer->down_bias = floats(C, 0);
        if (below(2)) layer->window = 1 + below(200);
    }
    m.embedding = m.head = matrix(VOCABULARY, C, format);
    m.norm = floats(C, 1), m.cosines = floats(WINDOW * D / 2, 0.5f), m.sines = floats(WINDOW * D / 2, 0.5f);
    return m;
}

static hanlin_network *network(model *m, int32_t threads) {
    m->shape.threads = threads;
    hanlin_network *made = hanlin_network_new(&m->shape, m->layers, &m->embedding, &m->head, m->norm, NULL);
    assert(made);
    for (int32_t table = 0; table < 2; table++) hanlin_network_turns(made, table, m->cosines, m->sines, WINDOW);
    return made;
}

/* Tokens first .. last-1 of a text into a slot; what comes after each. */
static void give(hanlin_network *made, const int32_t *text, int32_t slot, int32_t first, int32_t last, float *logits) {
    int32_t count = last - first, *rows = malloc(sizeof(int32_t) * 4 * count);
    for (int32_t i = 0; i < count; i++)
        rows[i] = text[first + i], rows[count + i] = slot, rows[2 * count + i] = first + i, rows[3 * count + i] = i;
    int32_t failed = hanlin_network_forward(made, count, rows, rows + count, rows + 2 * count, count, rows + 3 * count,
                                            logits + (size_t)first * VOCABULARY);
    assert(!failed);
    free(rows);
}

static void release(model *m) {
    for (int32_t i = 0; i < LAYERS; i++) {
        hanlin_layer *layer = &m->layers[i];
        const void *held[] = {layer->query.data, layer->key.data, layer->value.data, layer->output.data,
                              layer->gate.data, layer->up.data, layer->down.data, layer->attention_norm,
                              layer->ffn_norm, layer->query_norm, layer->key_norm, layer->query_bias, layer->down_bias};
        for (size_t j = 0; j < sizeof held / sizeof *held; j++) free((void *)held[j]);
    }
    free((void *)m->embedding.data), free(m->norm), free(m->cosines), free(m->sines);
}

static void refuses(hanlin_network *made, int32_t id, int32_t slot, int32_t position) {
    assert(hanlin_network_forward(made, 1, &id, &slot, &position, 0, NULL, NULL) == HANLIN_OUT_OF_RANGE);
}

static void in_any_chunks(void) {
    model m = random_model();
    int32_t text[WINDOW], last = 0, kept = WINDOW / 2;
    size_t size = sizeof(float) * WINDOW * VOCABULARY;
    float *one = malloc(size), *other = malloc(size);
    for (int32_t i = 0; i < WINDOW; i++) text[i] = below(VOCABULARY);
    hanlin_network *alone = network(&m, 1), *team = network(&m, 1 + below(4));
    for (int32_t i = 0; i < WINDOW; i++) give(alone, text, 0, i, i + 1, one);
    for (int32_t first = 0; first < kept; first = last) {
        last = first + 1 + below(below(2) ? 3 : 100);
        give(team, text, 1, first, last = last < kept ? last : kept, other);
    }
    hanlin_network_copy(team, 1, 2, kept);
    hanlin_network_release(team, 1, 0), hanlin_network_release(team, 2, kept);
    give(team, text, 2, kept, WINDOW, other);
    assert(!memcmp(one, other, size));
    refuses(team, VOCABULARY, 0, 0), refuses(team, -1, 0, 0), refuses(team, 0, SLOTS, 0);
    refuses(team, 0, -1, 0), refuses(team, 0, 0, WINDOW), refuses(team, 0, 0, -1);
    hanlin_network_free(alone), hanlin_network_free(team);
    release(&m), free(one), free(other);
}

/* A child has none of its parent's threads, and must do without them or start its own. */
static void after_a_fork(void) {
    model m = random_model();
    int32_t text[WINDOW] = {0}, status;
    float *one = malloc(sizeof(float) * WINDOW * VOCABULARY), *other = malloc(sizeof(float) * WINDOW * VOCABULARY);
    hanlin_network *team = network(&m, 3);
    give(team, text, 0, 0, 100, one);
    pid_t child = fork();
    give(team, text, 1, 0, 100, other);
    int same = !memcmp(one, other, sizeof(float) * 100 * VOCABULARY);
    hanlin_network_free(team);
    release(&m), free(one), free(other);
    assert(same);
    if (!child) _exit(0);
    waitpid(child, &status, 0);
    assert(WIFEXITED(status) && !WEXITSTATUS(status));
}

int main(void) {
    const char *kinds[] = {"generic", "avx2", "avx512-vnni", "neon"};
    for (int32_t i = 0; i < 4; i++)
        if (hanlin_use(kinds[i]))
            for (int32_t round = 0; round < 6; round++) in_any_chunks();
    after_a_fork();
    return 0;
}
