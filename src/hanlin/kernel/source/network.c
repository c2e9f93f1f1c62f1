/* A Llama-like decoder: x <- x + attention(norm(x)), x <- x + ffn(norm(x)) for each layer (arXiv 2302.13971). */
#include "network_parts.h"

/* Parts that a job is cut into for each thread: so many that the last ones end together. */
enum { PARTS = 4 };

typedef struct {
    const hanlin_matrix *matrix;
    float *out;
    size_t stride;
} product;

typedef struct {
    const hanlin_network *network;
    int32_t groups, parts;
    product products[3];
} products;

/* ---- Jobs */

static int32_t share(int32_t all, int32_t part, int32_t parts) { return (int32_t)((int64_t)all * part / parts); }

static int32_t parts_of(const hanlin_network *network, int32_t all) {
    int32_t parts = PARTS * hanlin_team_size(network->team);
    return all < parts ? all : parts;
}

/* A part's groups of rows, counted through all products. */
static void multiply_part(void *context, int32_t part) {
    const products *work = context;
    int32_t first = share(work->groups, part, work->parts), last = share(work->groups, part + 1, work->parts);
    for (const product *each = work->products; first < last; each++) {
        int32_t groups = hanlin_groups(each->matrix), end = last < groups ? last : groups;
        if (first < end) hanlin_multiply(each->matrix, &work->network->inputs, each->out, each->stride, first, end);
        first = (first > groups ? first : groups) - groups;
        last -= groups;
    }
}

static void multiply(hanlin_network *network, int32_t count, const product *each) {
    products work = {.network = network};
    for (int32_t i = 0; i < count; i++) {
        work.products[i] = each[i];
        work.groups += hanlin_groups(each[i].matrix);
    }
    work.parts = parts_of(network, work.groups);
    hanlin_team_run(network->team, multiply_part, &work, work.parts);
}

typedef void token_task(hanlin_network *network, int32_t first, int32_t last);

typedef struct {
    hanlin_network *network;
    token_task *task;
    int32_t count, parts;
} token_work;

static void do_tokens(void *context, int32_t part) {
    token_work *work = context;
    work->task(work->network, share(work->count, part, work->parts), share(work->count, part + 1, work->parts));
}

/* For what is done token by token. A single one is not worth a job. */
static void for_tokens(hanlin_network *network, int32_t count, token_task *task) {
    token_work work = {network, task, count, count < 4 ? 1 : parts_of(network, count)};
    hanlin_team_run(network->team, do_tokens, &work, work.parts);
}

static void set_inputs(hanlin_network *network, int32_t count, int32_t format, int32_t columns, const float *values) {
    network->inputs = (hanlin_inputs){count, columns, values, network->prepared};
    network->inputs_format = format;
}

static void prepare_inputs(hanlin_network *network, int32_t first, int32_t last) {
    hanlin_prepare(network->inputs_format, &network->inputs, first, last);
}

/* ---- What is done token by token */

static void embed(hanlin_network *network, int32_t first, int32_t last) {
    int32_t width = network->shape.width;
    for (int32_t i = first; i < last; i++) {
        float *x = network->residual + (size_t)i * width;
        hanlin_unpack_row(&network->embedding, network->ids[i], x);
        if (network->shape.embedding_scale != 1)
            for (int32_t c = 0; c < width; c++) x[c] *= network->shape.embedding_scale;
    }
}

/* x += given + bias */
static void add_given(hanlin_network *network, const float *bias, int32_t first, int32_t last) {
    int32_t width = network->shape.width;
    for (int32_t i = first; i < last; i++) {
        float *x = network->residual + (size_t)i * width;
        const float *given = network->given + (size_t)i * width;
        for (int32_t c = 0; c < width; c++) x[c] += bias ? given[c] + bias[c] : given[c];
    }
}

static void normalize(hanlin_network *network, const float *weight, int32_t first, int32_t last) {
    size_t width = network->shape.width;
    for (int32_t i = first; i < last; i++)
        network->vectors->norm(network->residual + i * width, weight, network->normed + i * width, width,
                               network->shape.norm_eps);
}

static void before_attention(hanlin_network *network, int32_t first, int32_t last) {
    if (network->layer == 0) embed(network, first, last);
    else add_given(network, network->layers[network->layer - 1].down_bias, first, last);
    normalize(network, network->layers[network->layer].attention_norm, first, last);
    prepare_inputs(network, first, last);
}

static void before_ffn(hanlin_network *network, int32_t first, int32_t last) {
    const hanlin_layer *layer = &network->layers[network->layer];
    add_given(network, layer->output_bias, first, last);
    normalize(network, layer->ffn_norm, first, last);
    prepare_inputs(network, first, last);
}

static void after_layers(hanlin_network *network, int32_t first, int32_t last) {
    add_given(network, network->layers[network->shape.layers - 1].down_bias, first, last);
}

/* ---- Sub-layers */

static void attention(hanlin_network *network) {
    const hanlin_shape *shape = &network->shape;
    const hanlin_layer *layer = &network->layers[network->layer];
    size_t queries = (size_t)shape->heads * shape->head_size, keys = (size_t)shape->kv_heads * shape->head_size;
    set_inputs(network, network->count, layer->query.format, shape->width, network->normed);
    for_tokens(network, network->count, before_attention);
    product inward[] = {{&layer->query, network->query, queries},
                        {&layer->key, network->key, keys},
                        {&layer->value, network->value, keys}};
    multiply(network, 3, inward);
    for_tokens(network, network->count, hanlin_remember);
    hanlin_attend(network);
    set_inputs(network, network->count, layer->output.format, queries, network->mixed);
    for_tokens(network, network->count, prepare_inputs);
    multiply(network, 1, &(product){&layer->output, network->given, shape->width});
}

static void add_bias(float *x, const float *bias, int32_t first, int32_t last) {
    if (bias)
        for (int32_t i = first; i < last; i++) x[i] += bias[i];
}

/* The same rows of gate and up, so that one thread can multiply the two. */
static void gate_part(void *context, int32_t part) {
    const products *work = context;
    const hanlin_network *network = work->network;
    const hanlin_layer *layer = &network->layers[network->layer];
    int32_t first = share(work->groups, part, work->parts), last = share(work->groups, part + 1, work->parts);
    int32_t F = network->shape.ffn_width, begin = first * HANLIN_GROUP;
    int32_t end = last * HANLIN_GROUP < F ? last * HANLIN_GROUP : F;
    hanlin_multiply(&layer->gate, &network->inputs, network->gate, F, first, last);
    hanlin_multiply(&layer->up, &network->inputs, network->up, F, first, last);
    for (int32_t i = 0; i < network->count; i++) {
        float *gate = network->gate + (size_t)i * F, *up = network->up + (size_t)i * F;
        add_bias(gate, layer->gate_bias, begin, end);
        add_bias(up, layer->up_bias, begin, end);
        network->vectors->gate(gate + begin, up + begin, end - begin);
    }
}

static void feed_forward(hanlin_network *network) {
    const hanlin_shape *shape = &network->shape;
    const hanlin_layer *layer = &network->layers[network->layer];
    set_inputs(network, network->count, layer->gate.format, shape->width, network->normed);
    for_tokens(network, network->count, before_ffn);
    products work = {.network = network, .groups = hanlin_groups(&layer->gate)};
    work.parts = parts_of(network, work.groups);
    hanlin_team_run(network->team, gate_part, &work, work.parts);
    set_inputs(network, network->count, layer->down.format, shape->ffn_width, network->gate);
    for_tokens(network, network->count, prepare_inputs);
    multiply(network, 1, &(product){&layer->down, network->given, shape->width});
}

/* Logits after the tokens `wanted` of the batch: (count, vocab_size). */
static void head(hanlin_network *network, int32_t count, const int32_t *wanted, int32_t offset, float *logits) {
    size_t width = network->shape.width, vocabulary = network->shape.vocab_size;
    for (int32_t i = 0; i < count; i++)
        network->vectors->norm(network->residual + (wanted[i] - offset) * width, network->norm,
                               network->normed + i * width, width, network->shape.norm_eps);
    set_inputs(network, count, network->head.format, width, network->normed);
    for_tokens(network, count, prepare_inputs);
    multiply(network, 1, &(product){&network->head, logits, vocabulary});
    if (network->head_bias)
        for (int32_t i = 0; i < count; i++) add_bias(logits + i * vocabulary, network->head_bias, 0, vocabulary);
}

static void run_batch(hanlin_network *network) {
    hanlin_tile_batch(network);
    for (network->layer = 0; network->layer < network->shape.layers; network->layer++) {
        attention(network);
        feed_forward(network);
    }
    for_tokens(network, network->count, after_layers);
}

static int32_t check(const hanlin_network *network, int32_t count, const int32_t *ids, const int32_t *slots,
                     const int32_t *positions, int32_t wanted_count, const int32_t *wanted) {
    const hanlin_shape *shape = &network->shape;
    for (int32_t i = 0; i < count; i++) {
        if (ids[i] < 0 || ids[i] >= shape->vocab_size || slots[i] < 0 || slots[i] >= shape->slots) return 0;
        if (positions[i] < 0 || positions[i] >= shape->window) return 0;
        if (positions[i] >= network->turns[0] || positions[i] >= network->turns[1]) return 0;
        if (i && slots[i] == slots[i - 1] && positions[i] != positions[i - 1] + 1) return 0;
    }
    for (int32_t i = 0; i < wanted_count; i++)
        if (wanted[i] < (i ? wanted[i - 1] + 1 : 0) || wanted[i] >= count) return 0;
    return 1;
}

int32_t hanlin_network_forward(hanlin_network *network, int32_t count, const int32_t *ids, const int32_t *slots,
                               const int32_t *positions, int32_t wanted_count, const int32_t *wanted,
                               float *logits) {
    if (!check(network, count, ids, slots, positions, wanted_count, wanted)) return HANLIN_OUT_OF_RANGE;
    hanlin_team_revive(network->team);
    network->vectors = hanlin_choose_vectors();
    int32_t done = 0;
    for (int32_t start = 0; start < count; start += BATCH) {
        network->count = count - start < BATCH ? count - start : BATCH;
        network->ids = ids + start, network->slots = slots + start, network->positions = positions + start;
        run_batch(network);
        int32_t asked = 0;
        while (done + asked < wanted_count && wanted[done + asked] < start + network->count) asked++;
        if (asked) head(network, asked, wanted + done, start, logits + (size_t)done * network->shape.vocab_size);
        done += asked;
    }
    return HANLIN_OK;
}
