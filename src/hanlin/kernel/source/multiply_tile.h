/* From multiply_blocks and multiply_floats of an instruction set, which take AT_ONCE inputs of a tile at most, the
 * function for whole tiles: unfolded for each format and count, which are constants in them. To be included after
 * them, where INLINE and FUNCTION say how functions for the instruction set are declared. */

INLINE void multiply_some(int32_t format, int count, int32_t columns, const uint8_t *group, const uint8_t *tile,
                          int width, int first, float *sums) {
    if (format == HANLIN_F32)
        multiply_floats(count, columns, group, tile, width, first, sums);
    else
        multiply_blocks(format, count, columns, group, tile, width, first, sums);
}

#define CASE(count) \
    case count: \
        multiply_some(format, count, columns, group, tile, width, first, sums); \
        break;

INLINE void multiply_all(int32_t format, int32_t columns, const uint8_t *group, const uint8_t *tile, int width,
                         int used, float *sums) {
    for (int first = 0; first < used; first += AT_ONCE)
        switch (used - first < AT_ONCE ? used - first : AT_ONCE) {
            CASE(1)
            CASE(2)
            CASE(3)
            CASE(4)
#if AT_ONCE > 4
            CASE(5)
            CASE(6)
            CASE(7)
            CASE(8)
#endif
        }
}

#undef CASE
#define CASE(format) \
    case format: \
        multiply_all(format, columns, group, tile, width, used, sums); \
        break;

FUNCTION static void multiply_tile(int32_t format, int32_t columns, const uint8_t *group, const uint8_t *tile,
                                   int width, int used, float *sums) {
    switch (format) {
        CASE(HANLIN_F32)
        CASE(HANLIN_Q4_0)
        CASE(HANLIN_Q4_1)
        CASE(HANLIN_Q8_0)
    }
}
#undef CASE
