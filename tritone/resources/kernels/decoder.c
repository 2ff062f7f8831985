/* A step of a decoder of the Qwen2 kind over slots: rows of embeddings to logits.
 *
 * A row is a position of a slot. It is computed as if it were alone: norms, rounding, attention and
 * the like look at one row, and products are sums of integers. So it gives the same to the last bit
 * among others, and in whatever parts a prompt is read.
 *
 * Weights are int8, scaled by output; what they are multiplied with is rounded row by row. All else
 * is float32. Widths are filled up with zeros to a multiple of WIDTH_STEP.
 *
 * Built twice: with AVX-512 VNNI alone, and with TRITONE_AMX for tiles.
 */
#include <stdlib.h>
#include <string.h>

#include "panels.h"
#include "quantise.h"

#include "attend.h"

enum { WIDTH_STEP = 64, PER_WORD = 4, STORED = 0, ADDED = 1, GATED = 2 };

/* weights: see panels.h. scales, offsets, bias: (outputs,); the offsets are 128 times the sums of
 * the weights. Both sizes are multiples of WIDTH_STEP. */
struct matrix {
    const uint32_t *weights;
    const float *scales;
    const int32_t *offsets;
    const float *bias;
    int64_t inputs, outputs;
};

/* gate_up: of four panels two are of the gate and two of what goes through it. keys: (slots,
 * key_heads, slot_length / 16, head_dim, 16); values: (slots, key_heads, slot_length, head_dim). */
struct layer {
    const float *attention_norm, *mlp_norm;
    struct matrix projection, output, gate_up, down;
    float *keys, *values;
};

/* width: hidden, filled up. turned: (positions, 2, head_dim / 2) cosines and sines. queries: (count,
 * 2) layers and heads whose queries are told. */
struct decoder {
    int64_t layers, hidden, width, heads, key_heads, head_dim, slot_length, queries;
    const struct layer *layer;
    const float *turned;
    const int64_t *query;
    const float *norm;
    struct matrix head;
    float epsilon, scale;
};

/* The rows from `answered` on are answered: logits (n, head.outputs), queries (n, queries, head_dim)
 * and last (n, width), what the logits are made of. x (rows, width) is overwritten. */
struct step {
    int64_t rows, answered;
    float *x;
    const int32_t *slots, *positions;
    float *logits, *queries, *last;
};

struct space {
    uint8_t *bytes;
    float *worth, *row, *projected, *attended, *gated, *scores;
    int32_t *sums;
};

static __m512 gate(__m512 x, __m512 through)
{
    const __m512 one = _mm512_set1_ps(1.0f);
    const __m512 small = power_of_two(_mm512_mul_ps(_mm512_abs_ps(x), _mm512_set1_ps(-1.44269504f)));
    const __mmask16 below = _mm512_cmp_ps_mask(x, _mm512_setzero_ps(), _CMP_LT_OQ);
    const __m512 share = _mm512_div_ps(_mm512_mask_blend_ps(below, one, small), _mm512_add_ps(one, small));
    return _mm512_mul_ps(_mm512_mul_ps(x, share), through);
}

static inline __m512 value_of(const struct matrix *m, const int32_t *sums, float worth, int64_t at)
{
    const __m512i whole = _mm512_sub_epi32(_mm512_load_si512(sums), _mm512_loadu_si512(m->offsets + at));
    const __m512 factor = _mm512_mul_ps(_mm512_loadu_ps(m->scales + at), _mm512_set1_ps(worth));
    const __m512 bias = m->bias ? _mm512_loadu_ps(m->bias + at) : _mm512_setzero_ps();
    return _mm512_fmadd_ps(_mm512_cvtepi32_ps(whole), factor, bias);
}

/* The sums of a row and four panels, of outputs from `first` on. */
static void finish(const struct matrix *m, int how, const int32_t *sums, float worth, int64_t first,
                   float *y)
{
    if (how == GATED) {
        for (int64_t j = 0; j < OUTPUTS / 2; j += LANES) {
            const __m512 x = value_of(m, sums + j, worth, first + j);
            const int64_t other = j + OUTPUTS / 2;
            const __m512 through = value_of(m, sums + other, worth, first + other);
            _mm512_storeu_ps(y + first / 2 + j, gate(x, through));
        }
        return;
    }
    for (int64_t j = 0; j < OUTPUTS; j += LANES) {
        __m512 x = value_of(m, sums + j, worth, first + j);
        if (how == ADDED)
            x = _mm512_add_ps(x, _mm512_loadu_ps(y + first + j));
        _mm512_storeu_ps(y + first + j, x);
    }
}

/* Of the rows that are in `space` as bytes; `stride` is between rows of y. */
static void multiply(const struct matrix *m, int how, int64_t rows, const struct space *space,
                     float *y, int64_t stride)
{
    const int64_t words = m->inputs / PER_WORD;
    for (int64_t first = 0; first < m->outputs; first += OUTPUTS) {
        panels_product(rows, (const uint32_t *)space->bytes, words, m->weights + first * words,
                       space->sums);
        for (int64_t i = 0; i < rows; i++)
            finish(m, how, space->sums + i * OUTPUTS, space->worth[i], first, y + i * stride);
    }
}

static void round_rows(const float *x, int64_t rows, int64_t width, const struct space *space)
{
    for (int64_t i = 0; i < rows; i++)
        space->worth[i] = quantise(x + i * width, width, space->bytes + i * width);
}

/* x over its root mean square, times the weights of the norm. */
static void norm(const struct decoder *d, const float *x, const float *weights, float *y)
{
    __m512 sum = _mm512_setzero_ps();
    for (int64_t k = 0; k < d->width; k += LANES) {
        const __m512 part = _mm512_loadu_ps(x + k);
        sum = _mm512_fmadd_ps(part, part, sum);
    }
    const float mean = _mm512_reduce_add_ps(sum) / (float)d->hidden;
    const __m512 factor = _mm512_set1_ps(1.0f / __builtin_sqrtf(mean + d->epsilon));
    for (int64_t k = 0; k < d->width; k += LANES) {
        const __m512 part = _mm512_mul_ps(_mm512_loadu_ps(x + k), factor);
        _mm512_storeu_ps(y + k, _mm512_mul_ps(part, _mm512_loadu_ps(weights + k)));
    }
}

static void norm_rows(const struct decoder *d, const float *x, int64_t rows, const float *weights,
                      const struct space *space)
{
    for (int64_t i = 0; i < rows; i++) {
        norm(d, x + i * d->width, weights, space->row);
        space->worth[i] = quantise(space->row, d->width, space->bytes + i * d->width);
    }
}

static void turn(float *head, const float *cosine, int64_t half)
{
    const float *sine = cosine + half;
    for (int64_t k = 0; k < half; k++) {
        const float one = head[k], other = head[half + k];
        head[k] = one * cosine[k] - other * sine[k];
        head[half + k] = other * cosine[k] + one * sine[k];
    }
}

/* Queries and keys of a row are turned to its position; keys and values go where they stay. */
static void keep(const struct decoder *d, const struct layer *layer, float *row, int64_t slot,
                 int64_t position)
{
    const int64_t dim = d->head_dim;
    const float *cosine = d->turned + position * dim;
    for (int64_t h = 0; h < d->heads + d->key_heads; h++)
        turn(row + h * dim, cosine, dim / 2);
    for (int64_t h = 0; h < d->key_heads; h++) {
        const float *key = row + (d->heads + h) * dim, *value = key + d->key_heads * dim;
        const int64_t before = (slot * d->key_heads + h) * d->slot_length * dim;
        float *to = layer->keys + before + position / BLOCK * BLOCK * dim + position % BLOCK;
        for (int64_t k = 0; k < dim; k++)
            to[k * BLOCK] = key[k];
        memcpy(layer->values + before + position * dim, value, 4 * dim);
    }
}

static void attend_row(const struct decoder *d, const struct layer *layer, const float *row,
                       int64_t slot, int64_t position, float *output, float *scores)
{
    const int64_t dim = d->head_dim, shared = d->heads / d->key_heads;
    for (int64_t h = 0; h < d->key_heads; h++) {
        const int64_t before = (slot * d->key_heads + h) * d->slot_length * dim;
        for (int64_t first = 0; first < shared; first += MOST_HEADS) {
            const int64_t at = (h * shared + first) * dim;
            const struct group group = {row + at,
                                        output + at,
                                        scores,
                                        layer->keys + before,
                                        layer->values + before,
                                        dim,
                                        position + 1,
                                        d->slot_length};
            attend(shared - first < MOST_HEADS ? shared - first : MOST_HEADS, &group, d->scale);
        }
    }
}

/* The queries of a layer that are told, as they are before they are turned. */
static void tell(const struct decoder *d, const struct step *step, int64_t layer,
                 const struct space *space)
{
    const int64_t dim = d->head_dim, stride = d->layer[layer].projection.outputs;
    for (int64_t q = 0; q < d->queries; q++)
        for (int64_t i = step->answered; d->query[2 * q] == layer && i < step->rows; i++)
            memcpy(step->queries + ((i - step->answered) * d->queries + q) * dim,
                   space->projected + i * stride + d->query[2 * q + 1] * dim, 4 * dim);
}

/* Of the last layer only the rows that are answered go further than their keys and values. */
static void pass(const struct decoder *d, const struct step *step, int64_t index,
                 const struct space *space)
{
    const struct layer *layer = d->layer + index;
    const int64_t stride = layer->projection.outputs, attended = layer->output.inputs;
    norm_rows(d, step->x, step->rows, layer->attention_norm, space);
    multiply(&layer->projection, STORED, step->rows, space, space->projected, stride);
    tell(d, step, index, space);
    for (int64_t i = 0; i < step->rows; i++)
        keep(d, layer, space->projected + i * stride, step->slots[i], step->positions[i]);
    const int64_t first = index + 1 < d->layers ? 0 : step->answered, rows = step->rows - first;
    float *x = step->x + first * d->width;
    for (int64_t i = first; i < step->rows; i++)
        attend_row(d, layer, space->projected + i * stride, step->slots[i], step->positions[i],
                   space->attended + (i - first) * attended, space->scores);
    round_rows(space->attended, rows, attended, space);
    multiply(&layer->output, ADDED, rows, space, x, d->width);
    norm_rows(d, x, rows, layer->mlp_norm, space);
    multiply(&layer->gate_up, GATED, rows, space, space->gated, layer->down.inputs);
    round_rows(space->gated, rows, layer->down.inputs, space);
    multiply(&layer->down, ADDED, rows, space, x, d->width);
}

static void answer(const struct decoder *d, const struct step *step, const struct space *space)
{
    const int64_t rows = step->rows - step->answered;
    for (int64_t i = 0; i < rows; i++)
        norm(d, step->x + (step->answered + i) * d->width, d->norm, step->last + i * d->width);
    round_rows(step->last, rows, d->width, space);
    multiply(&d->head, STORED, rows, space, step->logits, d->head.outputs);
}

/* Parts of one piece of memory, of zeros; returns it. Rows of bytes and sums are filled up. */
static void *space_for(const struct decoder *d, int64_t rows, struct space *space)
{
    const struct layer *layer = d->layer;
    const int64_t full = filled(rows, 32), attended = layer->output.inputs, gated = layer->down.inputs;
    int64_t widest = d->width > attended ? d->width : attended;
    widest = widest > gated ? widest : gated;
    const int64_t sizes[] = {full * widest / PER_WORD,
                             filled(rows, LANES),
                             d->width,
                             rows * layer->projection.outputs,
                             rows * attended,
                             rows * gated,
                             MOST_HEADS * d->slot_length,
                             full * OUTPUTS};
    int64_t all = 0;
    for (int i = 0; i < 8; i++)
        all += sizes[i];
    float *at = aligned_alloc(ALIGNMENT, 4 * all), *parts[8];
    if (!at)
        return NULL;
    memset(at, 0, 4 * all);
    for (int64_t i = 0, begin = 0; i < 8; begin += sizes[i++])
        parts[i] = at + begin;
    *space = (struct space){(uint8_t *)parts[0], parts[1], parts[2], parts[3],
                            parts[4],            parts[5], parts[6], (int32_t *)parts[7]};
    return at;
}

/* 0, or -1 where there is no memory. */
int tritone_decode(const struct decoder *d, const struct step *step)
{
    struct space space;
    void *memory = space_for(d, step->rows, &space);
    if (!memory)
        return -1;
    begin_products();
    for (int64_t index = 0; index < d->layers; index++)
        pass(d, step, index, &space);
    answer(d, step, &space);
    end_products();
    free(memory);
    return 0;
}
