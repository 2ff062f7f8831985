/* Softmax attention of a few queries over spans of keys and values, one row and head after another.
 *
 * Keys are taken in blocks. A block's scores (queries, keys) stay in the second-level cache, and
 * the sum over blocks is kept up as they come (Milakov and Gimelshein, 2018):
 *
 *     scores  = query . keys                                  float32
 *     highest = max(highest, scores)                          what was summed is scaled to it
 *     weights = exp(scale * (scores - highest))               in the precision of the values
 *     output += weights . values;  total += sum(weights)      float32
 *
 * Both products are of words of 32 bits: a float, or two neighbouring bfloat16 of the inner axis,
 * which the processor multiplies and adds at once. So keys are transposed word by word, and of the
 * values each word has those of two neighbouring keys.
 *
 * Built three times: without a macro for float32 (AVX-512), with TRITONE_BF16 for bfloat16
 * (AVX-512 BF16), and with TRITONE_AMX too for matrix tiles.
 */
#include <stdlib.h>
#include <string.h>

#include "lanes.h"
#include "product.h"

enum {
    KEYS = 256, /* in a block */
    /* Words from row to row: an odd number of cache lines, so that rows do not share sets. */
    NEXT = KEYS + LANES,
    NEXT_WEIGHTS = KEYS * sizeof(element) / sizeof(uint32_t) + LANES,
    PER_WORD = sizeof(uint32_t) / sizeof(element),
};

/* Neighbouring keys and values; strides in bytes, head_dim elements lie together. */
struct span {
    const char *key, *value;
    int64_t key_row, key_head, key_frame;
    int64_t value_row, value_head, value_frame;
    int64_t frames;
};

/* Strides in bytes; head_dim elements of a query or an output lie together. All fields here and
 * above have 8 bytes, as native.py writes them. */
struct call {
    const char *query;
    int64_t query_row, query_head, query_frame;
    char *output;
    int64_t output_row, output_head, output_frame;
    int64_t rows, heads, frames, head_dim;
    int64_t span_count;
    double scale;               /* of the scores */
};

/* Memory for one row and head; counts of frames and keys are filled up to whole tiles. */
struct scratch {
    uint32_t *query;   /* (frames, words) */
    uint32_t *keys;    /* (words, NEXT) */
    uint32_t *values;  /* (KEYS / PER_WORD, head_dim) */
    float *scores;     /* (TOGETHER, NEXT) */
    uint32_t *weights; /* (TOGETHER, NEXT_WEIGHTS) */
    float *output;     /* (frames, head_dim) */
    float *highest, *total;
};

/* 16 x 16 words; rows from `count` on are taken as zeros. */
static void transpose(const char *rows, int64_t stride, int64_t count, uint32_t *to, int64_t width)
{
    __m512i r[LANES], t[LANES];
    for (int i = 0; i < LANES; i++)
        r[i] = i < count ? _mm512_loadu_si512(rows + i * stride) : _mm512_setzero_si512();
    for (int i = 0; i < LANES; i += 2) {
        t[i] = _mm512_unpacklo_epi32(r[i], r[i + 1]);
        t[i + 1] = _mm512_unpackhi_epi32(r[i], r[i + 1]);
    }
    for (int i = 0; i < LANES; i += 4)
        for (int j = 0; j < 2; j++) {
            r[i + 2 * j] = _mm512_unpacklo_epi64(t[i + j], t[i + j + 2]);
            r[i + 2 * j + 1] = _mm512_unpackhi_epi64(t[i + j], t[i + j + 2]);
        }
    for (int i = 0; i < LANES; i += 8)
        for (int j = 0; j < 4; j++) {
            t[i + j] = _mm512_shuffle_i32x4(r[i + j], r[i + j + 4], 0x88);
            t[i + j + 4] = _mm512_shuffle_i32x4(r[i + j], r[i + j + 4], 0xdd);
        }
    for (int j = 0; j < 8; j++) {
        __m512i even = _mm512_shuffle_i32x4(t[j], t[j + 8], 0x88);
        __m512i odd = _mm512_shuffle_i32x4(t[j], t[j + 8], 0xdd);
        _mm512_store_si512(to + j * width, even);
        _mm512_store_si512(to + (j + 8) * width, odd);
    }
}

/* keys (count, head_dim) -> words (head_dim / PER_WORD, NEXT), zeros up to a whole tile. */
static void pack_keys(const char *keys, int64_t stride, int64_t count, int64_t words, uint32_t *to)
{
    for (int64_t k = 0; k < count; k += LANES)
        for (int64_t w = 0; w < words; w += LANES)
            transpose(keys + k * stride + 4 * w, stride, count - k, to + w * NEXT + k, NEXT);
}

#ifdef TRITONE_BF16
/* values (count, head_dim) -> words of two neighbours (KEYS / 2, head_dim), zeros up to a tile. */
static void pack_values(const char *values, int64_t stride, int64_t count, int64_t width,
                        uint32_t *to)
{
    uint16_t low[32], high[32];
    for (int i = 0; i < 32; i++) {
        low[i] = (uint16_t)(i / 2 + 32 * (i % 2));
        high[i] = (uint16_t)(low[i] + LANES);
    }
    const __m512i take_low = _mm512_loadu_si512(low), take_high = _mm512_loadu_si512(high);
    for (int64_t k = 0; k < filled(count, PER_WORD * LANES); k += PER_WORD)
        for (int64_t d = 0; d < width; d += 2 * LANES) {
            const char *at = values + k * stride + sizeof(element) * d;
            __m512i one = k < count ? _mm512_loadu_si512(at) : _mm512_setzero_si512();
            __m512i next = k + 1 < count ? _mm512_loadu_si512(at + stride) : _mm512_setzero_si512();
            uint32_t *word = to + k / PER_WORD * width + d;
            _mm512_store_si512(word, _mm512_permutex2var_epi16(one, take_low, next));
            _mm512_store_si512(word + LANES, _mm512_permutex2var_epi16(one, take_high, next));
        }
}
#endif

/* The scores of one query become weights; returns what earlier sums are worth beside them. */
static float weigh(const float *scores, int64_t count, float scale, float *highest, float *total,
                   element *weights)
{
    const __m512 none = _mm512_set1_ps(-__builtin_inff());
    __m512 most = none;
    for (int64_t k = 0; k < count; k += LANES) {
        __mmask16 here = count - k < LANES ? (__mmask16)((1u << (count - k)) - 1) : 0xffff;
        most = _mm512_max_ps(most, _mm512_mask_loadu_ps(none, here, scores + k));
    }
    const float before = *highest, now = _mm512_reduce_max_ps(most);
    *highest = now > before ? now : before;
    const float kept = _mm512_cvtss_f32(power_of_two(_mm512_set1_ps(scale * (before - *highest))));
    const __m512 factor = _mm512_set1_ps(scale), offset = _mm512_set1_ps(-scale * *highest);
    __m512 sum = _mm512_setzero_ps();
    const int64_t end = filled(count, PER_WORD * LANES);
    for (int64_t k = 0; k < end; k += LANES) {
        int64_t left = count - k;
        __mmask16 here = left >= LANES ? 0xffff : left > 0 ? (__mmask16)((1u << left) - 1) : 0;
        __m512 x = _mm512_fmadd_ps(_mm512_maskz_loadu_ps(here, scores + k), factor, offset);
        x = _mm512_maskz_mov_ps(here, power_of_two(x));
        sum = _mm512_add_ps(sum, x);
        store(weights + k, x);
    }
    *total = *total * kept + _mm512_reduce_add_ps(sum);
    return kept;
}

/* A few queries, from `first` on, see a block of packed keys and values. */
static void add_products(const struct call *call, const struct scratch *s, int64_t first,
                         const uint32_t *values, int64_t value_stride, int64_t count)
{
    const int64_t width = call->head_dim, words = width / PER_WORD;
    const int64_t left = call->frames - first, frames = left < TOGETHER ? left : TOGETHER;
    const float scale = (float)(call->scale * 1.4426950408889634); /* of powers of two */
    float *output = s->output + first * width;
    product(s->query + first * words, words, frames, s->keys, NEXT, words, s->scores, NEXT,
            filled(count, LANES), 0);
    for (int64_t i = 0; i < frames; i++) {
        float kept = weigh(s->scores + i * NEXT, count, scale, s->highest + first + i,
                           s->total + first + i, (element *)(s->weights + i * NEXT_WEIGHTS));
        const __m512 factor = _mm512_set1_ps(kept);
        for (int64_t d = 0; kept != 1.0f && d < width; d += LANES) {
            float *at = output + i * width + d;
            _mm512_store_ps(at, _mm512_mul_ps(_mm512_load_ps(at), factor));
        }
    }
    const int64_t inner = PER_WORD == 1 ? count : filled(count, PER_WORD * LANES) / PER_WORD;
    product(s->weights, NEXT_WEIGHTS, frames, values, value_stride, inner, output, width, width,
            1);
}

/* All queries see a block of keys and values of a span. */
static void add_block(const struct call *call, const struct scratch *s, const char *keys,
                      int64_t key_stride, const char *values, int64_t value_stride, int64_t count)
{
    pack_keys(keys, key_stride, count, call->head_dim / PER_WORD, s->keys);
#ifdef TRITONE_BF16
    pack_values(values, value_stride, count, call->head_dim, s->values);
    const uint32_t *packed = s->values;
    const int64_t next = call->head_dim;
#else
    const uint32_t *packed = (const uint32_t *)values;
    const int64_t next = value_stride / 4;
#endif
    for (int64_t first = 0; first < call->frames; first += TOGETHER)
        add_products(call, s, first, packed, next, count);
}

static void attend_head(const struct call *call, const struct span *spans,
                        const struct scratch *s, int64_t row, int64_t head)
{
    const int64_t width = call->head_dim, words = width / PER_WORD;
    const char *query = call->query + row * call->query_row + head * call->query_head;
    for (int64_t i = 0; i < call->frames; i++) {
        memcpy(s->query + i * words, query + i * call->query_frame, 4 * words);
        s->highest[i] = -__builtin_inff();
        s->total[i] = 0;
    }
    memset(s->output, 0, sizeof(float) * filled(call->frames, TILE_ROWS) * width);
    for (const struct span *span = spans; span < spans + call->span_count; span++) {
        const char *key = span->key + row * span->key_row + head * span->key_head;
        const char *value = span->value + row * span->value_row + head * span->value_head;
        for (int64_t k = 0; k < span->frames; k += KEYS) {
            int64_t count = span->frames - k < KEYS ? span->frames - k : KEYS;
            add_block(call, s, key + k * span->key_frame, span->key_frame,
                      value + k * span->value_frame, span->value_frame, count);
        }
    }
    char *output = call->output + row * call->output_row + head * call->output_head;
    for (int64_t i = 0; i < call->frames; i++) {
        const __m512 share = _mm512_set1_ps(1.0f / s->total[i]);
        for (int64_t d = 0; d < width; d += LANES)
            store((element *)(output + i * call->output_frame) + d,
                  _mm512_mul_ps(_mm512_load_ps(s->output + i * width + d), share));
    }
}

/* 0, or -1 where there is no memory. */
int tritone_attend(const struct call *call, const struct span *spans)
{
    const int64_t frames = filled(call->frames, TILE_ROWS), width = call->head_dim;
    const int64_t sizes[] = {
        frames * width / PER_WORD, width / PER_WORD * NEXT, KEYS / PER_WORD * width,
        TOGETHER * NEXT, TOGETHER * NEXT_WEIGHTS, frames * width, filled(frames, LANES),
        filled(frames, LANES),
    };
    int64_t words = 0;
    for (int i = 0; i < 8; i++)
        words += filled(sizes[i], LANES);
    uint32_t *memory = aligned_alloc(ALIGNMENT, 4 * words), *next = memory;
    if (!memory)
        return -1;
    void *parts[8];
    for (int i = 0; i < 8; i++, next += filled(sizes[i - 1], LANES))
        parts[i] = next;
    const struct scratch s = {parts[0], parts[1], parts[2], parts[3],
                              parts[4], parts[5], parts[6], parts[7]};
    /* rows beyond the last frame are multiplied too, and must be numbers */
    memset(s.query, 0, 4 * sizes[0]);
    memset(s.weights, 0, 4 * sizes[4]);
    /* numbers below 1e-38 take a hundred cycles each, and are nothing beside a sum of weights */
    const unsigned int rounding = _mm_getcsr();
    _mm_setcsr(rounding | _MM_FLUSH_ZERO_ON | 0x40);
    begin_products();
    for (int64_t row = 0; row < call->rows; row++)
        for (int64_t head = 0; head < call->heads; head++)
            attend_head(call, spans, &s, row, head);
    end_products();
    _mm_setcsr(rounding);
    free(memory);
    return 0;
}
