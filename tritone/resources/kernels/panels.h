/* Products of a few rows of bytes with weights that come from memory, each but once: what bounds
 * them is how fast it is read.
 *
 * Weights lie in panels of 16 outputs, (words of inputs, 16), and four panels are read side by side:
 * the processor fetches ahead in each, and one long stream would be a quarter slower. Sums are of
 * integers, so tiles and vectors give the same.
 */
#include "tiles.h"

enum { PANEL = 16, PANELS = 4, OUTPUTS = PANEL * PANELS, MOST_ROWS = 7, AHEAD = 32 /* lines */ };

/* `rows` is a constant where it is called: sums stay in registers. */
static inline __attribute__((always_inline)) void
by_vectors(const int rows, const uint32_t *bytes, int64_t words, const uint32_t *weights,
           int32_t *sums)
{
    __m512i kept[MOST_ROWS][PANELS];
#pragma GCC unroll 8
    for (int i = 0; i < rows; i++)
#pragma GCC unroll 8
        for (int j = 0; j < PANELS; j++)
            kept[i][j] = _mm512_setzero_si512();
    for (int64_t w = 0; w < words; w++) {
        __m512i next[PANELS];
#pragma GCC unroll 8
        for (int j = 0; j < PANELS; j++) {
            const uint32_t *at = weights + (j * words + w) * PANEL;
            _mm_prefetch((const char *)(at + AHEAD * PANEL), _MM_HINT_T0);
            next[j] = _mm512_load_si512(at);
        }
#pragma GCC unroll 8
        for (int i = 0; i < rows; i++) {
            const __m512i everywhere = _mm512_set1_epi32((int)bytes[i * words + w]);
#pragma GCC unroll 8
            for (int j = 0; j < PANELS; j++)
                kept[i][j] = _mm512_dpbusd_epi32(kept[i][j], everywhere, next[j]);
        }
    }
#pragma GCC unroll 8
    for (int i = 0; i < rows; i++)
#pragma GCC unroll 8
        for (int j = 0; j < PANELS; j++)
            _mm512_store_si512(sums + i * OUTPUTS + j * PANEL, kept[i][j]);
}

#define ROWS_CASE(rows)                                 \
    case rows:                                          \
        by_vectors(rows, bytes, words, weights, sums);  \
        break;

static void few_rows(int64_t rows, const uint32_t *bytes, int64_t words, const uint32_t *weights,
                     int32_t *sums)
{
    switch (rows) {
        ROWS_CASE(1) ROWS_CASE(2) ROWS_CASE(3) ROWS_CASE(4) ROWS_CASE(5) ROWS_CASE(6) ROWS_CASE(7)
    }
}

#ifdef TRITONE_AMX
static inline void fetch(const uint32_t *tile)
{
#pragma GCC unroll 16
    for (int line = 0; line < TILE; line++)
        _mm_prefetch((const char *)(tile + line * PANEL), _MM_HINT_T0);
}

/* Up to 16 rows, four panels. */
static void one_tile(const uint32_t *bytes, int64_t words, const uint32_t *weights, int32_t *sums)
{
    const int64_t panel = words * PANEL;
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
    for (int64_t w = 0; w < words; w += TILE) {
        const uint32_t *at = weights + w * PANEL;
        for (int j = 0; j < PANELS; j++)
            fetch(at + j * panel + AHEAD * PANEL);
        _tile_loadd(4, bytes + w, 4 * words);
        _tile_loadd(5, at, 4 * PANEL);
        _tile_dpbusd(0, 4, 5);
        _tile_loadd(6, at + panel, 4 * PANEL);
        _tile_dpbusd(1, 4, 6);
        _tile_loadd(7, at + 2 * panel, 4 * PANEL);
        _tile_dpbusd(2, 4, 7);
        _tile_loadd(5, at + 3 * panel, 4 * PANEL);
        _tile_dpbusd(3, 4, 5);
    }
    _tile_stored(0, sums, 4 * OUTPUTS);
    _tile_stored(1, sums + PANEL, 4 * OUTPUTS);
    _tile_stored(2, sums + 2 * PANEL, 4 * OUTPUTS);
    _tile_stored(3, sums + 3 * PANEL, 4 * OUTPUTS);
}

/* Up to 32 rows, more than 16, and two panels; the next two are fetched. */
static void two_tiles(const uint32_t *bytes, int64_t words, const uint32_t *weights, int32_t *sums)
{
    const int64_t panel = words * PANEL;
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
    for (int64_t w = 0; w < words; w += TILE) {
        const uint32_t *at = weights + w * PANEL;
        fetch(at + 2 * panel);
        fetch(at + 3 * panel);
        _tile_loadd(4, bytes + w, 4 * words);
        _tile_loadd(6, at, 4 * PANEL);
        _tile_dpbusd(0, 4, 6);
        _tile_loadd(5, bytes + TILE * words + w, 4 * words);
        _tile_dpbusd(2, 5, 6);
        _tile_loadd(7, at + panel, 4 * PANEL);
        _tile_dpbusd(1, 4, 7);
        _tile_dpbusd(3, 5, 7);
    }
    _tile_stored(0, sums, 4 * OUTPUTS);
    _tile_stored(1, sums + PANEL, 4 * OUTPUTS);
    _tile_stored(2, sums + TILE * OUTPUTS, 4 * OUTPUTS);
    _tile_stored(3, sums + TILE * OUTPUTS + PANEL, 4 * OUTPUTS);
}

static void many_rows(int64_t rows, const uint32_t *bytes, int64_t words, const uint32_t *weights,
                      int32_t *sums)
{
    for (int j = 0; j < PANELS; j += 2)
        for (int64_t i = 0; i < rows; i += 2 * TILE)
            if (rows - i > TILE)
                two_tiles(bytes + i * words, words, weights + j * words * PANEL,
                          sums + i * OUTPUTS + j * PANEL);
    if (rows % (2 * TILE) && rows % (2 * TILE) <= TILE) {
        const int64_t i = rows / (2 * TILE) * (2 * TILE);
        one_tile(bytes + i * words, words, weights, sums + i * OUTPUTS);
    }
}
#endif

/* sums (rows, OUTPUTS) of the first four panels; rows of both are filled up to 32, and what lies
 * there is read and written too. */
static void panels_product(int64_t rows, const uint32_t *bytes, int64_t words,
                           const uint32_t *weights, int32_t *sums)
{
#ifdef TRITONE_AMX
    if (rows > MOST_ROWS) {
        SETTLED;
        many_rows(rows, bytes, words, weights, sums);
        SETTLED;
        return;
    }
#endif
    for (int64_t i = 0; i < rows; i += MOST_ROWS)
        few_rows(rows - i < MOST_ROWS ? rows - i : MOST_ROWS, bytes + i * words, words, weights,
                 sums + i * OUTPUTS);
}
