/* The functions of cuBLAS that are used, on the processor's memory: obvious loops, column-major. */
#include <stddef.h>
#include <stdlib.h>

enum { WRONG = 7 };
typedef struct { void *stream, *workspace; size_t bytes; int pointers; } Handle;
int live = 0, device_numbers = 0;

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
int cublasSetPointerMode_v2(void *handle, int mode) {
    ((Handle *)handle)->pointers = mode;
    return 0;
}
static int ready(Handle *h) { return h->stream && h->workspace && h->bytes; }

#define AT(M, ld, i, j) M[(size_t)(i) + (size_t)(ld) * (size_t)(j)]
/* x rounded to so many bits, as the units that multiply do; ties go to even. */
static float rounded(float x, int bits) {
    if (bits >= 24) return x;
    union { float x; unsigned u; } word = {x};
    unsigned cut = 24 - bits, half = 1u << (cut - 1), odd = (word.u >> cut) & 1;
    word.u = (word.u + half - 1 + odd) >> cut << cut;
    return word.x;
}

#define PRODUCT(NAME, T, ROUNDED)                                                                \
    static int NAME(void *handle, int ta, int tb, int m, int n, int k, const T *alpha,           \
                    const T *A, int lda, const T *B, int ldb, const T *beta, T *C, int ldc,      \
                    int bits) {                                                                  \
        Handle *h = handle;                                                                      \
        if (!ready(h) || lda < (ta ? k : m) || ldb < (tb ? n : k) || ldc < m) return WRONG;      \
        device_numbers += h->pointers == 1;                                                      \
        for (int j = 0; j < n; ++j)                                                              \
            for (int i = 0; i < m; ++i) {                                                        \
                T sum = 0;                                                                       \
                for (int p = 0; p < k; ++p)                                                      \
                    sum += ROUNDED(ta ? AT(A, lda, p, i) : AT(A, lda, i, p), bits) *             \
                           ROUNDED(tb ? AT(B, ldb, j, p) : AT(B, ldb, p, j), bits);              \
                T *c = &AT(C, ldc, i, j);                                                        \
                *c = *alpha * sum + (*beta == 0 ? 0 : *beta * *c);                               \
            }                                                                                    \
        return 0;                                                                                \
    }
#define EXACT(x, bits) (x)
PRODUCT(product_s, float, rounded)
PRODUCT(product_d, double, EXACT)

int cublasDgemm_v2(void *handle, int ta, int tb, int m, int n, int k, const double *alpha,
                   const double *A, int lda, const double *B, int ldb, const double *beta,
                   double *C, int ldc) {
    return product_d(handle, ta, tb, m, n, k, alpha, A, lda, B, ldb, beta, C, ldc, 53);
}
/* Numbers of bfloat16, the upper halves of float32s, as float32s. */
static float *widened(const unsigned short *M, size_t count) {
    float *wide = malloc(count * sizeof(float));
    for (size_t i = 0; i < count; ++i) {
        union { unsigned u; float x; } word = {(unsigned)M[i] << 16};
        wide[i] = word.x;
    }
    return wide;
}
int cublasGemmEx(void *handle, int ta, int tb, int m, int n, int k, const float *alpha,
                 const void *A, int type_A, int lda, const void *B, int type_B, int ldb,
                 const float *beta, float *C, int type_C, int ldc, int compute, int algorithm) {
    int bits = compute == 68 ? 24 : compute == 77 ? 11 : 0;
    if (type_A != type_B || type_C || !bits || algorithm != -1) return WRONG;
    if (type_A == 0)
        return product_s(handle, ta, tb, m, n, k, alpha, A, lda, B, ldb, beta, C, ldc, bits);
    if (type_A != 14 || bits != 24) return WRONG;
    float *wide_A = widened(A, (size_t)lda * ((ta ? m : k) - 1) + (ta ? k : m));
    float *wide_B = widened(B, (size_t)ldb * ((tb ? k : n) - 1) + (tb ? n : k));
    int status = product_s(handle, ta, tb, m, n, k, alpha, wide_A, lda, wide_B, ldb, beta, C, ldc, 24);
    free(wide_A);
    free(wide_B);
    return status;
}
int cublasGemmStridedBatchedEx(void *handle, int ta, int tb, int m, int n, int k,
                               const void *alpha, const void *A, int type_A, int lda,
                               long long step_A, const void *B, int type_B, int ldb,
                               long long step_B, const void *beta, void *C, int type_C, int ldc,
                               long long step_C, int count, int compute, int algorithm) {
    size_t width = type_A == 14 ? 2 : type_A == 1 ? 8 : 4;
    if (type_A != type_B || type_C != (compute == 70) || (type_A == 1) != type_C) return WRONG;
    for (int c = 0; c < count; ++c) {
        const char *A_c = (const char *)A + c * step_A * width;
        const char *B_c = (const char *)B + c * step_B * width;
        int status = type_C
            ? cublasDgemm_v2(handle, ta, tb, m, n, k, alpha, (const double *)A_c, lda,
                             (const double *)B_c, ldb, beta,
                             (double *)C + c * step_C, ldc)
            : cublasGemmEx(handle, ta, tb, m, n, k, alpha, A_c, type_A, lda, B_c, type_B, ldb, beta,
                           (float *)C + c * step_C, 0, ldc, compute, algorithm);
        if (status) return status;
    }
    return 0;
}

#define GRAM(NAME, T)                                                                            \
    int NAME(void *handle, int upper, int transposed, int n, int k, const T *alpha, const T *A,  \
             int lda, const T *beta, T *C, int ldc) {                                            \
        Handle *h = handle;                                                                      \
        if (!ready(h) || h->pointers || lda < (transposed ? k : n) || ldc < n)        \
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
