/* Linear layers with int8 weights: y = act(x . weights + bias), x and y in float32 or bfloat16.
 *
 * Weights are scaled by output channel, inputs by row, when they come: what a row gives depends on
 * that row alone. Four neighbouring bytes of the inner axis are a word, which the processor
 * multiplies and adds at once; those of x are moved up by 128, since it takes them unsigned, and
 * 128 times the sum of the weights is taken off again.
 *
 * Built three times: without a macro but TRITONE_INT8 for float32 (AVX-512 VNNI), with TRITONE_BF16
 * for bfloat16, and with TRITONE_AMX too for matrix tiles.
 */
#include <stdlib.h>

#include "product.h"
#include "quantise.h"

enum { PANEL = 64, PER_WORD = 4, TOGETHER_ROWS = 128, GELU = 1 };

/* Strides in bytes. weights: panels of PANEL outputs, each (inputs / 4, outputs of the panel) words.
 * scales, offsets, bias: (outputs,); the offsets are 128 times the sums of the weights. */
struct call {
    const char *x;
    int64_t x_row, x_frame;
    char *y;
    int64_t y_frame;
    int64_t rows, frames, inputs, outputs;
    const uint32_t *weights;
    const float *scales;
    const int32_t *offsets;
    const float *bias;
    int64_t activation;
};

/* x times the normal distribution's function; its tail by Abramowitz and Stegun, 7.1.26 (1.5e-7). */
static __m512 gelu(__m512 x)
{
    const __m512 one = _mm512_set1_ps(1.0f), far = _mm512_abs_ps(x);
    const __m512 z = _mm512_mul_ps(far, _mm512_set1_ps(0.70710678f));
    const __m512 t = _mm512_div_ps(one, _mm512_fmadd_ps(z, _mm512_set1_ps(0.3275911f), one));
    __m512 y = _mm512_set1_ps(1.061405429f);
    y = _mm512_fmadd_ps(y, t, _mm512_set1_ps(-1.453152027f));
    y = _mm512_fmadd_ps(y, t, _mm512_set1_ps(1.421413741f));
    y = _mm512_fmadd_ps(y, t, _mm512_set1_ps(-0.284496736f));
    y = _mm512_fmadd_ps(y, t, _mm512_set1_ps(0.254829592f));
    const __m512 square = _mm512_mul_ps(_mm512_mul_ps(z, z), _mm512_set1_ps(-1.44269504f));
    y = _mm512_mul_ps(_mm512_mul_ps(y, t), power_of_two(square)); /* erfc(z) */
    const __m512 half = _mm512_mul_ps(_mm512_mul_ps(x, y), _mm512_set1_ps(0.5f));
    const __mmask16 above = _mm512_cmp_ps_mask(x, _mm512_setzero_ps(), _CMP_GT_OQ);
    return _mm512_mask_sub_ps(half, above, x, half);
}

/* Sums of a panel, (frames, PANEL), to outputs from `first` on. */
static void finish(const struct call *call, const int32_t *sums, const float *worth, char *y,
                   int64_t frames, int64_t first, int64_t count)
{
    for (int64_t j = 0; j < count; j += LANES) {
        const int64_t at = first + j;
        const __m512i offset = _mm512_loadu_si512(call->offsets + at);
        const __m512 scale = _mm512_loadu_ps(call->scales + at);
        const __m512 bias = call->bias ? _mm512_loadu_ps(call->bias + at) : _mm512_setzero_ps();
        for (int64_t i = 0; i < frames; i++) {
            __m512i whole = _mm512_sub_epi32(_mm512_load_si512(sums + i * PANEL + j), offset);
            __m512 factor = _mm512_mul_ps(scale, _mm512_set1_ps(worth[i]));
            __m512 value = _mm512_fmadd_ps(_mm512_cvtepi32_ps(whole), factor, bias);
            store((element *)(y + i * call->y_frame) + at,
                  call->activation == GELU ? gelu(value) : value);
        }
    }
}

static void some_frames(const struct call *call, const char *x, char *y, int64_t frames,
                        uint32_t *bytes, int32_t *sums, float *worth)
{
    const int64_t words = call->inputs / PER_WORD;
    for (int64_t i = 0; i < frames; i++)
        worth[i] = quantise((const element *)(x + i * call->x_frame), call->inputs,
                            (uint8_t *)(bytes + i * words));
    for (int64_t first = 0; first < call->outputs; first += PANEL) {
        int64_t count = call->outputs - first < PANEL ? call->outputs - first : PANEL;
        product(bytes, words, frames, call->weights + first * words, count, words, sums, PANEL,
                count, 0);
        finish(call, sums, worth, y, frames, first, count);
    }
}

/* 0, or -1 where there is no memory. */
int tritone_linear(const struct call *call)
{
    const int64_t words = call->inputs / PER_WORD, all = call->rows * call->frames;
    const int64_t most = filled(all < TOGETHER_ROWS ? all : TOGETHER_ROWS, LANES);
    uint32_t *bytes = aligned_alloc(ALIGNMENT, 4 * (filled(most * words, LANES) + most * PANEL + most));
    if (!bytes)
        return -1;
    int32_t *sums = (int32_t *)(bytes + filled(most * words, LANES));
    float *worth = (float *)(sums + most * PANEL);
    begin_products();
    for (int64_t row = 0; row < call->rows; row++)
        for (int64_t first = 0; first < call->frames; first += TOGETHER_ROWS) {
            int64_t left = call->frames - first;
            some_frames(call, call->x + row * call->x_row + first * call->x_frame,
                        call->y + (row * call->frames + first) * call->y_frame,
                        left < TOGETHER_ROWS ? left : TOGETHER_ROWS, bytes, sums, worth);
        }
    end_products();
    free(bytes);
    return 0;
}
