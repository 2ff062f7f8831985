/* Rows in float32 or bfloat16 as bytes and what one of them is worth. */
#include "lanes.h"

/* A row as bytes moved up by 128; returns what one of them is worth: no number, if there is one that
 * is none. */
static float quantise(const element *x, int64_t count, uint8_t *to)
{
    __m512 most = _mm512_setzero_ps();
    __mmask16 odd = 0;
    for (int64_t k = 0; k < count; k += LANES) {
        __m512 values = load(x + k);
        odd |= _mm512_cmp_ps_mask(values, values, _CMP_UNORD_Q);
        most = _mm512_max_ps(most, _mm512_abs_ps(values));
    }
    const float largest = _mm512_reduce_max_ps(most);
    const __m512 factor = _mm512_set1_ps(largest > 0 ? 127.0f / largest : 0.0f);
    const __m512i middle = _mm512_set1_epi32(128);
    for (int64_t k = 0; k < count; k += LANES) {
        __m512i whole = _mm512_cvtps_epi32(_mm512_mul_ps(load(x + k), factor));
        _mm_storeu_si128((__m128i *)(to + k), _mm512_cvtepi32_epi8(_mm512_add_epi32(whole, middle)));
    }
    return odd ? __builtin_nanf("") : largest / 127.0f;
}
