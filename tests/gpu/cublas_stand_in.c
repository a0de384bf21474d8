/* The functions of cuBLAS that are used, on the processor's memory: obvious loops, column-major. */
#include <stddef.h>
#include <stdlib.h>

enum { WRONG = 7 };
typedef struct { void *stream, *workspace; size_t bytes; int mode, pointers; } Handle;
int live = 0, tf32_products = 0, device_numbers = 0;

int cublasCreate_v2(void **handle) {
    *handle = calloc(1, sizeof(Handle));
    ++live;
    return 0;
}
int cublasDestroy_v2(void *handle) {
    free(handle);
    --live;
    return 0;
}
int cublasSetStream_v2(void *handle, void *stream) {
    ((Handle *)handle)->stream = stream;
    ((Handle *)handle)->workspace = NULL; /* as cuBLAS does */
    return 0;
}
int cublasSetWorkspace_v2(void *handle, void *workspace, size_t bytes) {
    ((Handle *)handle)->workspace = workspace;
    ((Handle *)handle)->bytes = bytes;
    return 0;
}
int cublasSetMathMode(void *handle, int mode) {
    ((Handle *)handle)->mode = mode;
    return 0;
}
int cublasSetPointerMode_v2(void *handle, int mode) {
    ((Handle *)handle)->pointers = mode;
    return 0;
}
static int ready(Handle *h) { return h->stream && h->workspace && h->bytes; }

#define AT(M, ld, i, j) M[(size_t)(i) + (size_t)(ld) * (size_t)(j)]
#define PRODUCT(NAME, T)                                                                         \
    int NAME(void *handle, int ta, int tb, int m, int n, int k, const T *alpha, const T *A,      \
             int lda, const T *B, int ldb, const T *beta, T *C, int ldc) {                       \
        Handle *h = handle;                                                                      \
        if (!ready(h) || lda < (ta ? k : m) || ldb < (tb ? n : k) || ldc < m) return WRONG;      \
        tf32_products += h->mode == 3;                                                           \
        device_numbers += h->pointers == 1;                                                      \
        for (int j = 0; j < n; ++j)                                                              \
            for (int i = 0; i < m; ++i) {                                                        \
                T sum = 0;                                                                       \
                for (int p = 0; p < k; ++p)                                                      \
                    sum += (ta ? AT(A, lda, p, i) : AT(A, lda, i, p)) *                          \
                           (tb ? AT(B, ldb, j, p) : AT(B, ldb, p, j));                           \
                T *c = &AT(C, ldc, i, j);                                                        \
                *c = *alpha * sum + (*beta == 0 ? 0 : *beta * *c);                               \
            }                                                                                    \
        return 0;                                                                                \
    }
PRODUCT(cublasSgemm_v2, float)
PRODUCT(cublasDgemm_v2, double)

#define GRAM(NAME, T)                                                                            \
    int NAME(void *handle, int upper, int transposed, int n, int k, const T *alpha, const T *A,  \
             int lda, const T *beta, T *C, int ldc) {                                            \
        Handle *h = handle;                                                                      \
        if (!ready(h) || h->mode || h->pointers || lda < (transposed ? k : n) || ldc < n)        \
            return WRONG;                                                                        \
        for (int j = 0; j < n; ++j)                                                              \
            for (int i = upper ? 0 : j; i < (upper ? j + 1 : n); ++i) {                          \
                T sum = 0;                                                                       \
                for (int p = 0; p < k; ++p)                                                      \
                    sum += transposed ? AT(A, lda, p, i) * AT(A, lda, p, j)                      \
                                      : AT(A, lda, i, p) * AT(A, lda, j, p);                     \
                T *c = &AT(C, ldc, i, j);                                                        \
                *c = *alpha * sum + (*beta == 0 ? 0 : *beta * *c);                               \
            }                                                                                    \
        return 0;                                                                                \
    }
GRAM(cublasSsyrk_v2, float)
GRAM(cublasDsyrk_v2, double)

/* B = alpha B op(A)^-1, A upper with its own diagonal; all that is asked for here. */
int cublasDtrsm_v2(void *handle, int right, int upper, int transposed, int unit, int m, int n,
                   const double *alpha, const double *A, int lda, double *B, int ldb) {
    Handle *h = handle;
    if (!ready(h) || h->pointers || !right || !upper || unit || lda < n || ldb < m) return WRONG;
    for (int step = 0; step < n; ++step) {
        int j = transposed ? n - 1 - step : step;
        for (int i = 0; i < m; ++i) {
            double sum = *alpha * AT(B, ldb, i, j);
            for (int p = transposed ? j + 1 : 0; p < (transposed ? n : j); ++p)
                sum -= AT(B, ldb, i, p) * (transposed ? AT(A, lda, j, p) : AT(A, lda, p, j));
            AT(B, ldb, i, j) = sum / AT(A, lda, j, j);
        }
    }
    return 0;
}
