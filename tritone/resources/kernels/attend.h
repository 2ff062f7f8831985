/* Attention of rows in float32 over the keys and values of their slots.
 *
 * Keys lie in blocks of 16 positions, (head_dim, 16), values as (positions, head_dim): scores of 16
 * positions are a vector, and so are 16 numbers of what comes out. A row's sums have one order,
 * whatever is computed beside it and however its prompt came.
 */
enum { BLOCK = 16, MOST_HEADS = 8 };

/* Of queries that share their keys. weights: (heads, room) scores of all positions. */
struct group {
    const float *query;
    float *output, *weights;
    const float *keys, *values;
    int64_t head_dim, positions, room;
};

/* `heads` is a constant where it is called: sums stay in registers. */
static inline __attribute__((always_inline)) void scores_of(const int heads, const struct group *g)
{
    for (int64_t first = 0; first < g->positions; first += BLOCK) {
        const float *block = g->keys + first * g->head_dim;
        __m512 sums[MOST_HEADS];
#pragma GCC unroll 8
        for (int h = 0; h < heads; h++)
            sums[h] = _mm512_setzero_ps();
        for (int64_t d = 0; d < g->head_dim; d++) {
            const __m512 key = _mm512_load_ps(block + d * BLOCK);
#pragma GCC unroll 8
            for (int h = 0; h < heads; h++)
                sums[h] = _mm512_fmadd_ps(_mm512_set1_ps(g->query[h * g->head_dim + d]), key, sums[h]);
        }
#pragma GCC unroll 8
        for (int h = 0; h < heads; h++)
            _mm512_store_ps(g->weights + h * g->room + first, sums[h]);
    }
}

static inline __attribute__((always_inline)) void values_of(const int heads, const struct group *g,
                                                            const float *shares)
{
    for (int64_t d = 0; d < g->head_dim; d += LANES) {
        __m512 sums[MOST_HEADS];
#pragma GCC unroll 8
        for (int h = 0; h < heads; h++)
            sums[h] = _mm512_setzero_ps();
        for (int64_t p = 0; p < g->positions; p++) {
            const __m512 value = _mm512_load_ps(g->values + p * g->head_dim + d);
#pragma GCC unroll 8
            for (int h = 0; h < heads; h++)
                sums[h] = _mm512_fmadd_ps(_mm512_set1_ps(g->weights[h * g->room + p]), value, sums[h]);
        }
#pragma GCC unroll 8
        for (int h = 0; h < heads; h++)
            _mm512_storeu_ps(g->output + h * g->head_dim + d,
                             _mm512_mul_ps(sums[h], _mm512_set1_ps(shares[h])));
    }
}

/* Scores become exponentials of their distance to the largest; returns one over their sum. What lies
 * behind the last position is not looked at. */
static float exponentials(float *scores, int64_t count, float scale)
{
    const __m512 lowest = _mm512_set1_ps(-__builtin_inff()), unit = _mm512_set1_ps(scale);
    __m512 most = lowest, sum = _mm512_setzero_ps();
    for (int64_t p = 0; p < count; p += LANES) {
        const __mmask16 there = count - p < LANES ? (__mmask16)((1u << (count - p)) - 1) : 0xffff;
        most = _mm512_max_ps(most, _mm512_mask_load_ps(lowest, there, scores + p));
    }
    const __m512 largest = _mm512_set1_ps(_mm512_reduce_max_ps(most));
    for (int64_t p = 0; p < count; p += LANES) {
        const __mmask16 there = count - p < LANES ? (__mmask16)((1u << (count - p)) - 1) : 0xffff;
        __m512 far = _mm512_sub_ps(_mm512_load_ps(scores + p), largest);
        far = _mm512_maskz_mov_ps(there, power_of_two(_mm512_mul_ps(far, unit)));
        _mm512_store_ps(scores + p, far);
        sum = _mm512_add_ps(sum, far);
    }
    return 1.0f / _mm512_reduce_add_ps(sum);
}

static inline __attribute__((always_inline)) void attend_heads(const int heads, const struct group *g,
                                                               float scale)
{
    float shares[MOST_HEADS];
    scores_of(heads, g);
    for (int h = 0; h < heads; h++)
        shares[h] = exponentials(g->weights + h * g->room, g->positions, scale);
    values_of(heads, g, shares);
}

#define HEADS_CASE(heads)                \
    case heads:                          \
        attend_heads(heads, g, scale);   \
        break;

/* scale: of scores, for powers of two. */
static void attend(int64_t heads, const struct group *g, float scale)
{
    switch (heads) {
        HEADS_CASE(1) HEADS_CASE(2) HEADS_CASE(3) HEADS_CASE(4)
        HEADS_CASE(5) HEADS_CASE(6) HEADS_CASE(7) HEADS_CASE(8)
    }
}
