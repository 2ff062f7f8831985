/* Vectors of 16 numbers, as they are computed (float32) and as they are stored: in float32, or with
 * TRITONE_BF16 in bfloat16.
 */
#include <immintrin.h>
#include <stdint.h>

enum { LANES = 16, ALIGNMENT = 64 };

#ifdef TRITONE_BF16
typedef uint16_t element;

static inline __m512 load(const element *from)
{
    __m512i wide = _mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)from));
    return (__m512)_mm512_slli_epi32(wide, 16);
}

static inline void store(element *to, __m512 x)
{
    _mm256_storeu_si256((__m256i *)to, (__m256i)_mm512_cvtneps_pbh(x));
}
#else
typedef float element;

static inline __m512 load(const element *from) { return _mm512_loadu_ps(from); }
static inline void store(element *to, __m512 x) { _mm512_storeu_ps(to, x); }
#endif

static inline int64_t filled(int64_t count, int64_t step)
{
    return (count + step - 1) / step * step;
}

/* 2^x for x <= 0, within 2e-7 of it; a polynomial for the part after the point (minimax). */
static inline __m512 power_of_two(__m512 x)
{
    __m512 whole = _mm512_roundscale_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
    __m512 rest = _mm512_sub_ps(x, whole);
    __m512 y = _mm512_set1_ps(1.3400448e-3f);
    y = _mm512_fmadd_ps(y, rest, _mm512_set1_ps(9.6760402e-3f));
    y = _mm512_fmadd_ps(y, rest, _mm512_set1_ps(5.5503273e-2f));
    y = _mm512_fmadd_ps(y, rest, _mm512_set1_ps(2.4022107e-1f));
    y = _mm512_fmadd_ps(y, rest, _mm512_set1_ps(6.9314721e-1f));
    y = _mm512_fmadd_ps(y, rest, _mm512_set1_ps(1.00000008f));
    return _mm512_scalef_ps(y, whole);
}
