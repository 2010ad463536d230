// One decoding step of the text-to-semantic decoder for all slots: what T2S.step in sovits_rt/nn/t2s.py computes.
//
// Built on the user's machine by build.py, for its processor. Reading order: vectors, dot products, matrices, attention,
// threads, decoder, C interface.
//
// A step is bound by memory: it reads every weight once, and every valid key and value. So weights are packed in the
// order of their use, as small as their format is, and are used for all rows while they are in the first cache.
// Every sum has a fixed order: a row's result is the same, to the bit, whatever the other rows are and however many
// threads work. Sums are kept in fp32 (bytes in int32 within a group, then fp32).

#include <algorithm>
#include <atomic>
#include <cmath>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <new>
#include <thread>
#include <vector>

#if !defined(SOVITS_RT_PORTABLE) && (defined(__AVX2__) || defined(__AVX512BW__))
#include <immintrin.h>
#define X86_DOT
#elif !defined(SOVITS_RT_PORTABLE) && defined(__ARM_FEATURE_DOTPROD)
#include <arm_neon.h>
#define ARM_DOT
#endif
#if defined(__linux__)
#include <sys/mman.h>
#endif

namespace {

// ---- vectors: the compiler's own, as wide as the processor's

#if defined(__AVX512F__)
constexpr int LANES = 16;
#elif defined(__AVX__)
constexpr int LANES = 8;
#else
constexpr int LANES = 4;
#endif
// Rows that share a weight while it is in a register; with 16 registers (SSE, AVX) more would be kept in memory.
#if defined(__AVX512F__) || defined(__aarch64__)
constexpr int ROWS = 4;
#else
constexpr int ROWS = 2;
#endif

typedef float Floats __attribute__((vector_size(4 * LANES)));
typedef int32_t Ints __attribute__((vector_size(4 * LANES)));
typedef uint32_t Words __attribute__((vector_size(4 * LANES)));
typedef int16_t Shorts __attribute__((vector_size(4 * LANES)));
typedef uint16_t Halves __attribute__((vector_size(2 * LANES)));
typedef int8_t Bytes __attribute__((vector_size(LANES)));

template <class Vector, class T>
inline Vector load(const T* from) {
    Vector vector;
    std::memcpy(&vector, from, sizeof vector);
    return vector;
}

template <class Vector, class T>
inline void store(T* to, Vector vector) {
    std::memcpy(to, &vector, sizeof vector);
}

template <class To, class From>
inline To bits(From from) {
    static_assert(sizeof(To) == sizeof(From));
    To to;
    std::memcpy(&to, &from, sizeof to);
    return to;
}

inline float sum(Floats vector) {
    float lanes[LANES];
    store(lanes, vector);
    for (int half = LANES / 2; half; half /= 2)
        for (int lane = 0; lane < half; ++lane) lanes[lane] += lanes[lane + half];
    return lanes[0];
}

inline float largest(Floats vector) {
    float lanes[LANES];
    store(lanes, vector);
    return *std::max_element(lanes, lanes + LANES);
}

inline Floats larger(Floats a, Floats b) { return a > b ? a : b; }

// Sums of neighbours: those of a, then those of b.
inline Floats neighbours(Floats a, Floats b) {
    Ints even;
    for (int lane = 0; lane < LANES; ++lane) even[lane] = 2 * lane;
#if defined(__clang__)
#if defined(__AVX512F__)
    return __builtin_shufflevector(a, b, 0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30) +
           __builtin_shufflevector(a, b, 1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31);
#elif defined(__AVX__)
    return __builtin_shufflevector(a, b, 0, 2, 4, 6, 8, 10, 12, 14) +
           __builtin_shufflevector(a, b, 1, 3, 5, 7, 9, 11, 13, 15);
#else
    return __builtin_shufflevector(a, b, 0, 2, 4, 6) + __builtin_shufflevector(a, b, 1, 3, 5, 7);
#endif
#else
    return __builtin_shuffle(a, b, even) + __builtin_shuffle(a, b, even + 1);
#endif
}

// e^x for x <= 0, off by at most 2e-7 of itself; below -87 it is as good as zero.
// x = n ln 2 + r with |r| <= ln 2 / 2; ln 2 in two parts, so that r is exact; Taylor's polynomial of degree 7 for e^r.
inline Floats exponential(Floats x) {
    constexpr float shift = 12582912.0f;  // 1.5 * 2^23: adding it rounds to a whole number in the low bits
    x = larger(x, Floats{} - 87.0f);
    const Floats shifted = x * 1.44269504f + shift;
    const Floats n = shifted - shift;
    const Floats r = (x - n * 0.693359375f) - n * -2.12194440e-4f;
    Floats power = Floats{} + 1.0f / 5040;
    for (float factor : {1.0f / 720, 1.0f / 120, 1.0f / 24, 1.0f / 6, 0.5f, 1.0f, 1.0f}) power = power * r + factor;
    return power * bits<Floats>((bits<Ints>(shifted) - (0x4B400000 - 127)) << 23);
}

// ---- number formats, as in memory

struct Single {
    float value;
    static Floats read(const Single* from) { return load<Floats>(from); }
    static Single of(float value) { return {value}; }
};

struct Brain {  // bfloat16: the upper half of a float
    uint16_t value;
    static Floats read(const Brain* from) {
        return bits<Floats>(__builtin_convertvector(load<Halves>(from), Words) << 16);
    }
    static Brain of(float value) {
        const auto whole = bits<uint32_t>(value);
        return {static_cast<uint16_t>((whole + 0x7FFF + (whole >> 16 & 1)) >> 16)};
    }
};

struct Half {  // float16: exponents are moved by multiplying, which also serves denormals
    uint16_t value;
    static Floats read(const Half* from) {
        const Words half = __builtin_convertvector(load<Halves>(from), Words);
        const Floats magnitude = bits<Floats>((half & 0x7FFF) << 13) * 0x1p112f;
        return bits<Floats>(bits<Words>(magnitude) | (half & 0x8000) << 16);
    }
    static Half of(float value) {
        const auto whole = bits<uint32_t>(std::min(std::fabs(value), 65504.0f) * 0x1p-112f);
        const auto sign = bits<uint32_t>(value) >> 16 & 0x8000;
        return {static_cast<uint16_t>((whole + 0xFFF + (whole >> 13 & 1)) >> 13 | sign)};
    }
};

// ---- dot products of four bytes per lane

#if defined(__AVX512VNNI__) || defined(__AVXVNNI__)
#define X86_VNNI
#endif
#if defined(X86_DOT) && defined(X86_VNNI)
constexpr bool UNSIGNED_WEIGHTS = true;  // the instruction multiplies unsigned by signed: weights are stored plus 128
#else
constexpr bool UNSIGNED_WEIGHTS = false;
#endif

// total + weights[4 lane + i] * inputs[i] for i in 0 ... 3; inputs: four signed bytes.
inline Ints dot4(Ints total, Ints weights, int32_t inputs) {
#if defined(X86_DOT) && defined(X86_VNNI) && defined(__AVX512VNNI__)
    return bits<Ints>(_mm512_dpbusd_epi32(bits<__m512i>(total), bits<__m512i>(weights), _mm512_set1_epi32(inputs)));
#elif defined(X86_DOT) && defined(X86_VNNI)
    return bits<Ints>(_mm256_dpbusd_avx_epi32(bits<__m256i>(total), bits<__m256i>(weights), _mm256_set1_epi32(inputs)));
#elif defined(X86_DOT)
    const Ints all = Ints{} + inputs;
    const Shorts even = bits<Shorts>(weights) << 8 >> 8, odd = bits<Shorts>(weights) >> 8;
    const Shorts even_inputs = bits<Shorts>(all) << 8 >> 8, odd_inputs = bits<Shorts>(all) >> 8;
#if defined(__AVX512BW__)
    total += bits<Ints>(_mm512_madd_epi16(bits<__m512i>(even), bits<__m512i>(even_inputs)));
    return total + bits<Ints>(_mm512_madd_epi16(bits<__m512i>(odd), bits<__m512i>(odd_inputs)));
#else
    total += bits<Ints>(_mm256_madd_epi16(bits<__m256i>(even), bits<__m256i>(even_inputs)));
    return total + bits<Ints>(_mm256_madd_epi16(bits<__m256i>(odd), bits<__m256i>(odd_inputs)));
#endif
#elif defined(ARM_DOT)
    return bits<Ints>(vdotq_s32(bits<int32x4_t>(total), bits<int8x16_t>(weights), bits<int8x16_t>(Ints{} + inputs)));
#else
    for (int shift = 24; shift >= 0; shift -= 8)
        total += (weights << shift >> 24) * (static_cast<int32_t>(static_cast<uint32_t>(inputs) << shift) >> 24);
    return total;
#endif
}

// ---- matrices

constexpr int GROUP = 64;  // inputs that share a scale, of weights and of activations

constexpr int round_up(int value, int multiple) { return (value + multiple - 1) / multiple * multiple; }

enum Format : int32_t { FP32, BF16, INT8 };

// Numbers of every row, each row padded with zeros to whole groups: in fp32, and where a matrix wants them in bytes.
struct Activations {
    int width = 0, groups = 0;
    bool quantised = false;
    std::vector<float> values;    // [rows, width]
    std::vector<int8_t> bytes;    // [rows, width]
    std::vector<float> scales;    // [rows, groups]
    std::vector<int32_t> starts;  // [rows, groups] what dot products begin with: takes back the weights' plus 128

    void shape(int columns, bool with_bytes) {
        width = round_up(columns, GROUP);
        groups = width / GROUP;
        quantised = with_bytes;
    }

    void resize(int rows) {
        values.resize(static_cast<size_t>(rows) * width);
        if (!quantised) return;
        bytes.resize(values.size());
        scales.resize(static_cast<size_t>(rows) * groups);
        starts.resize(scales.size());
    }

    float* row(int index) { return values.data() + static_cast<size_t>(index) * width; }

    void quantise(int row_index, int first, int last) {
        if (!quantised) return;
        for (int group = first / GROUP; group < round_up(last, GROUP) / GROUP; ++group) {
            const size_t offset = static_cast<size_t>(row_index) * width + static_cast<size_t>(group) * GROUP;
            quantise_group(offset, static_cast<size_t>(row_index) * groups + group);
        }
    }

  private:
    void quantise_group(size_t offset, size_t place) {
        constexpr float shift = 12582912.0f;
        const float* from = values.data() + offset;
        Floats peak{};
        for (int column = 0; column < GROUP; column += LANES) {
            const Floats value = load<Floats>(from + column);
            peak = larger(peak, larger(value, -value));
        }
        const float top = largest(peak);
        const float factor = top > 0 ? 127.0f / top : 0.0f;
        Ints total{};
        for (int column = 0; column < GROUP; column += LANES) {
            const Ints whole = bits<Ints>(load<Floats>(from + column) * factor + shift) - 0x4B400000;
            total += whole;
            store(bytes.data() + offset + column, __builtin_convertvector(whole, Bytes));
        }
        int32_t lanes[LANES], all = 0;
        store(lanes, total);
        for (int32_t lane : lanes) all += lane;
        scales[place] = top / 127.0f;
        starts[place] = UNSIGNED_WEIGHTS ? -128 * all : 0;
    }
};

// [outputs, inputs], packed in panels of LANES outputs. A panel holds, for fp32 and bf16, the LANES weights of each input
// (bf16: of two inputs side by side); for int8 first the scales, bf16 [groups, LANES], then bytes [inputs / 4, LANES, 4].
struct Matrix {
    Format format = FP32;
    int outputs = 0, inputs = 0;
    std::byte* data = nullptr;
    std::vector<float> bias;

    void shape(Format wanted, int rows, int columns) {
        format = wanted;
        outputs = rows;
        inputs = round_up(columns, GROUP);
        bias.assign(panels() * LANES, 0.0f);
    }

    int panels() const { return round_up(outputs, LANES) / LANES; }
    size_t scale_bytes() const { return format == INT8 ? sizeof(Brain) * LANES * inputs / GROUP : 0; }
    size_t panel_bytes() const {
        return scale_bytes() + static_cast<size_t>(LANES) * inputs * (format == FP32 ? 4 : format == BF16 ? 2 : 1);
    }
    size_t total_bytes() const { return panels() * panel_bytes(); }
    std::byte* panel(int index) const { return data + index * panel_bytes(); }

    // weights: [outputs, columns]
    void pack(int index, const float* weights, int columns) const {
        std::byte* to = panel(index);
        std::memset(to, 0, panel_bytes());
        for (int lane = 0; lane < LANES; ++lane) {
            const int output = index * LANES + lane;
            static const float nothing[1] = {};
            const float* from = output < outputs ? weights + static_cast<size_t>(output) * columns : nothing;
            pack_lane(to, lane, from, output < outputs ? columns : 0);
        }
    }

  private:
    void pack_lane(std::byte* to, int lane, const float* from, int columns) const {
        if (format == FP32)
            for (int column = 0; column < columns; ++column) reinterpret_cast<float*>(to)[column * LANES + lane] = from[column];
        if (format == BF16)
            for (int column = 0; column < columns; ++column)
                reinterpret_cast<Brain*>(to)[(column / 2 * LANES + lane) * 2 + column % 2] = Brain::of(from[column]);
        if (format != INT8) return;
        auto* bytes = reinterpret_cast<int8_t*>(to + scale_bytes());
        for (int start = 0; start < inputs; start += GROUP) {
            float top = 0;
            for (int column = start; column < std::min(start + GROUP, columns); ++column)
                top = std::max(top, std::fabs(from[column]));
            // rounded up, so that the largest weight stays within 127
            const Brain scale{static_cast<uint16_t>((bits<uint32_t>(top / 127.0f) + 0xFFFF) >> 16)};
            reinterpret_cast<Brain*>(to)[start / GROUP * LANES + lane] = scale;
            const auto unit = bits<float>(static_cast<uint32_t>(scale.value) << 16);
            for (int column = start; column < start + GROUP; ++column) {
                const float weight = column < columns && unit > 0 ? std::nearbyint(from[column] / unit) : 0.0f;
                bytes[(column / 4 * LANES + lane) * 4 + column % 4] =
                    static_cast<int8_t>(static_cast<int>(weight) + (UNSIGNED_WEIGHTS ? 128 : 0));
            }
        }
    }
};

// One panel times `COUNT` rows from `row` on: outputs[COUNT].
template <int COUNT>
inline void multiply_floats(const Matrix& matrix, const std::byte* panel, Activations& input, int row, Floats* outputs) {
    Floats sums[COUNT][4] = {};
    const float* rows = input.row(row);
    for (int column = 0; column < matrix.inputs; column += 4) {
        Floats weights[4];
        if (matrix.format == FP32) {
            for (int i = 0; i < 4; ++i) weights[i] = load<Floats>(panel + sizeof(Floats) * i);
            panel += 4 * sizeof(Floats);
        } else {
            for (int i = 0; i < 4; i += 2) {
                const Words pair = load<Words>(panel + sizeof(Words) * (i / 2));
                weights[i] = bits<Floats>(pair << 16);
                weights[i + 1] = bits<Floats>(pair & 0xFFFF0000);
            }
            panel += 2 * sizeof(Words);
        }
        for (int r = 0; r < COUNT; ++r)
            for (int i = 0; i < 4; ++i) sums[r][i] += weights[i] * rows[static_cast<size_t>(r) * input.width + column + i];
    }
    for (int r = 0; r < COUNT; ++r) outputs[r] = (sums[r][0] + sums[r][1]) + (sums[r][2] + sums[r][3]);
}

template <int COUNT>
inline void multiply_bytes(const Matrix& matrix, const std::byte* panel, const Activations& input, int row, Floats* outputs) {
    for (int r = 0; r < COUNT; ++r) outputs[r] = Floats{};
    const std::byte* words = panel + matrix.scale_bytes();
    const int8_t* bytes = input.bytes.data() + static_cast<size_t>(row) * input.width;
    const size_t first = static_cast<size_t>(row) * input.groups;
    for (int group = 0; group < input.groups; ++group) {
        Ints totals[COUNT];
        for (int r = 0; r < COUNT; ++r) totals[r] = Ints{} + input.starts[first + r * input.groups + group];
        for (int i = 0; i < GROUP; i += 4, words += sizeof(Ints)) {
            const Ints weights = load<Ints>(words);
            for (int r = 0; r < COUNT; ++r) {
                int32_t inputs;
                std::memcpy(&inputs, bytes + static_cast<size_t>(r) * input.width + group * GROUP + i, sizeof inputs);
                totals[r] = dot4(totals[r], weights, inputs);
            }
        }
        const Floats scale = Brain::read(reinterpret_cast<const Brain*>(panel) + group * LANES);
        for (int r = 0; r < COUNT; ++r)
            outputs[r] += __builtin_convertvector(totals[r], Floats) * (scale * input.scales[first + r * input.groups + group]);
    }
}

// Rows [row, rows) of one panel, in blocks of COUNT, then of half as many, and so on.
template <int COUNT>
void multiply_panel(const Matrix& matrix, int index, Activations& input, int row, int rows, bool relu, float* to, int stride) {
    for (; row + COUNT <= rows; row += COUNT) {
        Floats outputs[COUNT];
        if (matrix.format == INT8)
            multiply_bytes<COUNT>(matrix, matrix.panel(index), input, row, outputs);
        else
            multiply_floats<COUNT>(matrix, matrix.panel(index), input, row, outputs);
        const Floats bias = load<Floats>(matrix.bias.data() + index * LANES);
        for (int r = 0; r < COUNT; ++r) {
            const Floats output = outputs[r] + bias;
            store(to + static_cast<size_t>(row + r) * stride + index * LANES, relu ? larger(output, Floats{}) : output);
        }
    }
    if constexpr (COUNT > 1)
        if (row < rows) multiply_panel<COUNT / 2>(matrix, index, input, row, rows, relu, to, stride);
}

// Outputs [first, first + GROUP) of all rows.
void multiply(const Matrix& matrix, int first, Activations& input, int rows, bool relu, float* to, int stride) {
    const int last = std::min(matrix.panels(), (first + GROUP) / LANES);
    for (int index = first / LANES; index < last; ++index)
        multiply_panel<ROWS>(matrix, index, input, 0, rows, relu, to, stride);
}

// x = layer norm of (x + added)
void add_and_norm(float* x, const float* added, const float* weight, const float* bias, int width, float epsilon) {
    Floats total{}, squares{};
    for (int i = 0; i < width; i += LANES) {
        const Floats value = load<Floats>(x + i) + load<Floats>(added + i);
        total += value;
        store(x + i, value);
    }
    const float mean = sum(total) / static_cast<float>(width);
    for (int i = 0; i < width; i += LANES) {
        const Floats centred = load<Floats>(x + i) - mean;
        squares += centred * centred;
    }
    const float scale = 1.0f / std::sqrt(sum(squares) / static_cast<float>(width) + epsilon);
    for (int i = 0; i < width; i += LANES) {
        const Floats centred = load<Floats>(x + i) - mean;
        store(x + i, centred * scale * load<Floats>(weight + i) + load<Floats>(bias + i));
    }
}

// ---- attention

constexpr int AHEAD = 32;  // rows of keys that are fetched before they are needed; 16 and 64 were no better

// Keys or values of one head: `count` rows of `width` numbers, `stride` numbers apart.
template <class Number>
struct Rows {
    Number* data;
    ptrdiff_t stride;
    int count;
    Number* row(int index) const { return data + std::min(index, count - 1) * stride; }
    void fetch(int index) const {  // one row, soon needed; most are one or two cache lines
        const Number* start = data + index * stride;
        __builtin_prefetch(start);
        if (sizeof(Number) > 2) __builtin_prefetch(start + 64 / sizeof(Number));
    }
};

// For heads whose width is WIDTH, whole vectors; query is scaled already. scores: room for count + LANES. The values of
// the same positions are fetched on the way: a head's memory is too short for the processor to see a pattern in time.
template <int WIDTH, class Number>
void score_vectors(const float* query, Rows<Number> keys, Rows<Number> values, float* scores) {
    constexpr int PARTS = WIDTH / LANES;
    Floats parts[PARTS];
    for (int part = 0; part < PARTS; ++part) parts[part] = load<Floats>(query + part * LANES);
    for (int first = 0; first < keys.count; first += LANES) {
        Floats products[LANES];
        for (int lane = 0; lane < LANES; ++lane) {
            const Number* key = keys.row(first + lane);
            keys.fetch(first + lane + AHEAD);
            values.fetch(first + lane);
            products[lane] = Number::read(key) * parts[0];
            for (int part = 1; part < PARTS; ++part) products[lane] += Number::read(key + part * LANES) * parts[part];
        }
        for (int size = LANES / 2; size; size /= 2)
            for (int i = 0; i < size; ++i) products[i] = neighbours(products[2 * i], products[2 * i + 1]);
        store(scores + first, products[0]);
    }
}

template <int WIDTH, class Number>
void mix_vectors(const float* shares, Rows<Number> values, float factor, float* to) {
    constexpr int PARTS = WIDTH / LANES;
    Floats sums[2][PARTS] = {};
    for (int index = 0; index < values.count; index += 2)
        for (int odd = 0; odd < 2; ++odd)  // scores beyond the last row are zero
            for (int part = 0; part < PARTS; ++part)
                sums[odd][part] += Number::read(values.row(index + odd) + part * LANES) * shares[index + odd];
    for (int part = 0; part < PARTS; ++part) store(to + part * LANES, (sums[0][part] + sums[1][part]) * factor);
}

template <class Number>
float plain(Number number) {  // one number as a float
    Number lanes[LANES] = {number};
    return Number::read(lanes)[0];
}

// Turns scores into e^(score - largest), zero beyond `count`; returns their sum.
float soften(float* scores, int count) {
    std::fill(scores + count, scores + round_up(count, LANES), -INFINITY);
    Floats top = load<Floats>(scores), total{};
    for (int i = LANES; i < count; i += LANES) top = larger(top, load<Floats>(scores + i));
    const float peak = largest(top);
    for (int i = 0; i < count; i += LANES) {
        const Floats share = exponential(load<Floats>(scores + i) - peak);
        store(scores + i, share);
        total += share;
    }
    std::fill(scores + count, scores + round_up(count, LANES), 0.0f);
    return sum(total);
}

template <class Number>
void attend(const float* query, Rows<Number> keys, Rows<Number> values, int width, float* scores, float* to) {
    constexpr int USUAL = 32;  // the width of a head in every published model
    if (width == USUAL) {
        score_vectors<USUAL>(query, keys, values, scores);
        const float total = soften(scores, keys.count);
        mix_vectors<USUAL>(scores, values, 1.0f / total, to);
        return;
    }
    for (int index = 0; index < keys.count; ++index) {
        scores[index] = 0;
        for (int i = 0; i < width; ++i) scores[index] += query[i] * plain(keys.row(index)[i]);
    }
    const float total = soften(scores, keys.count);
    std::fill(to, to + width, 0.0f);
    for (int index = 0; index < values.count; ++index)
        for (int i = 0; i < width; ++i) to[i] += scores[index] / total * plain(values.row(index)[i]);
}

// ---- threads

inline void relax() {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    asm volatile("yield");
#endif
}

// A job is a sequence of phases, each a number of items. Every thread runs the whole sequence; whoever comes takes the
// next item, and a phase ends when its items are done. So a thread that wakes late, or not at all, holds nobody up.
class Phases {
    struct alignas(64) Counter {
        std::atomic<int> next{0}, done{0};
    };
    std::vector<Counter> counters;

  public:
    explicit Phases(int count) : counters(count) {}

    void reset() {
        for (Counter& counter : counters) counter.next = counter.done = 0;
    }

    template <class Work>
    void run(int index, int items, const Work& work) {
        Counter& counter = counters[index];
        for (int item; (item = counter.next.fetch_add(1, std::memory_order_relaxed)) < items;) {
            work(item);
            counter.done.fetch_add(1, std::memory_order_release);
        }
        for (int turns = 0; counter.done.load(std::memory_order_acquire) < items; ++turns)
            turns < 4096 ? relax() : std::this_thread::yield();
    }
};

struct Job {
    virtual void run() = 0;
    virtual ~Job() = default;
};

// The threads besides the caller's. They wait for `spins` turns, then sleep. Never destroyed: they end with the process.
class Pool {
    std::mutex one_job, sleeping;
    std::condition_variable wake;
    std::atomic<int> round{0}, open{0}, inside{0}, spins{0}, helpers{0};
    std::atomic<Job*> job{nullptr};
    int started = 0;

    void help(int number) {
        for (int seen = 0;;) {
            for (int turns = 0; round.load() == seen && turns < spins.load(std::memory_order_relaxed); ++turns) relax();
            if (round.load() == seen) {
                std::unique_lock<std::mutex> lock(sleeping);
                wake.wait(lock, [&] { return round.load() != seen; });
            }
            seen = round.load();
            if (number >= helpers.load()) continue;
            ++inside;
            if (open.load() == seen) job.load()->run();
            --inside;
        }
    }

  public:
    void run(Job& work, int threads, int turns) {
        const std::lock_guard<std::mutex> lock(one_job);
        for (; started < threads - 1; ++started) std::thread(&Pool::help, this, started).detach();
        job = &work;
        helpers = threads - 1;
        spins = turns;
        {
            const std::lock_guard<std::mutex> asleep(sleeping);
            open = round + 1;
            ++round;
        }
        if (threads > 1) wake.notify_all();
        work.run();
        open = 0;
        while (inside.load()) relax();
    }
};

Pool& pool() {
    static Pool* const threads = new Pool;
    return *threads;
}

// ---- decoder

struct Norm {
    std::vector<float> weight, bias;
};

struct Layer {
    Matrix project, combine, expand, contract;
    Norm first, second;
};

enum MemoryFormat : int32_t { MEMORY_FP32, MEMORY_BF16, MEMORY_FP16 };

// Key/value memory [layers, 2, slots, heads, window, head width]; strides in numbers, the last dimension is dense.
struct Memory {
    void* data;
    int32_t format;
    int64_t strides[5];
};

struct Call {
    const int64_t *tokens, *positions, *lengths;
    Memory memory;
    int rows;
    float* logits;
};

class Decoder final : public Job {
  public:
    const int width, heads, vocabulary, head_width;
    const float epsilon;
    std::vector<Layer> layers;
    Matrix head;
    const float *embedding = nullptr, *sinusoids = nullptr;  // the caller keeps them
    int positions = 0;
    float position_scale = 0;

    Decoder(int layer_count, int width, int heads, int hidden, int vocabulary, float epsilon, const int32_t* formats)
        : width(width), heads(heads), vocabulary(vocabulary), head_width(width / heads), epsilon(epsilon),
          layers(layer_count), phases(7 * layer_count + 2) {
        for (Layer& layer : layers) {
            layer.project.shape(Format(formats[0]), 3 * width, width);
            layer.combine.shape(Format(formats[1]), width, width);
            layer.expand.shape(Format(formats[2]), hidden, width);
            layer.contract.shape(Format(formats[3]), width, hidden);
        }
        head.shape(Format(formats[4]), vocabulary, width);
        state.shape(width, formats[0] == INT8 || formats[2] == INT8 || formats[4] == INT8);
        projected.shape(3 * width, false);
        mixed.shape(width, formats[1] == INT8);
        expanded.shape(hidden, formats[3] == INT8);
        added.shape(width, false);
        output.shape(vocabulary, false);
        allocate();
    }

    ~Decoder() override { std::free(arena); }
    Decoder(const Decoder&) = delete;

    Matrix& matrix(int index) {
        if (index == 4 * static_cast<int>(layers.size())) return head;
        Layer& layer = layers[index / 4];
        Matrix* all[] = {&layer.project, &layer.combine, &layer.expand, &layer.contract};
        return *all[index % 4];
    }

    // Raises nothing and computes nothing where a token, position or length is out of range: returns false.
    bool step(const Call& next, int window, int threads, int spins) {
        for (int row = 0; row < next.rows; ++row)
            if (next.tokens[row] < 0 || next.tokens[row] >= vocabulary || next.positions[row] < 0 ||
                next.positions[row] >= positions || next.lengths[row] < 0 || next.lengths[row] >= window)
                return false;
        const std::lock_guard<std::mutex> lock(one_step);
        call = next;
        for (Activations* each : {&state, &projected, &mixed, &expanded, &added, &output}) each->resize(call.rows);
        phases.reset();
        pool().run(*this, threads, spins);
        return true;
    }

    void run() override {
        int phase = 0;
        const int rows = call.rows;
        phases.run(phase++, rows, [&](int row) { embed(row); });
        for (int index = 0; index < static_cast<int>(layers.size()); ++index) {
            const Layer& layer = layers[index];
            phases.run(phase++, items(layer.project), [&](int item) { product(layer.project, item, state, projected); });
            phases.run(phase++, rows * blocks(), [&](int item) { attention(index, item / blocks(), item % blocks()); });
            phases.run(phase++, items(layer.combine), [&](int item) { product(layer.combine, item, mixed, added); });
            phases.run(phase++, rows, [&](int row) { norm(layer.first, row); });
            phases.run(phase++, items(layer.expand), [&](int item) {
                product(layer.expand, item, state, expanded, true);
                for (int row = 0; row < rows; ++row) expanded.quantise(row, item * GROUP, (item + 1) * GROUP);
            });
            phases.run(phase++, items(layer.contract), [&](int item) { product(layer.contract, item, expanded, added); });
            phases.run(phase++, rows, [&](int row) { norm(layer.second, row); });
        }
        phases.run(phase, items(head), [&](int item) {
            product(head, item, state, output);
            const int first = item * GROUP, size = std::min(GROUP, vocabulary - first);
            for (int row = 0; row < rows; ++row)
                std::copy_n(output.row(row) + first, size, call.logits + static_cast<size_t>(row) * vocabulary + first);
        });
    }

  private:
    std::mutex one_step;
    Call call{};
    Phases phases;
    void* arena = nullptr;
    Activations state, projected, mixed, expanded, added, output;

    // One piece of memory for all weights, in the order of their use; large pages spare the page tables.
    void allocate() {
        constexpr size_t page = size_t{2} << 20;
        size_t total = 0;
        const int count = 4 * static_cast<int>(layers.size()) + 1;
        for (int index = 0; index < count; ++index) total += matrix(index).total_bytes();
        total = (total + page - 1) / page * page;
        arena = std::aligned_alloc(page, total);
        if (!arena) throw std::bad_alloc();
#if defined(__linux__)
        madvise(arena, total, MADV_HUGEPAGE);
#endif
        auto* place = static_cast<std::byte*>(arena);
        for (int index = 0; index < count; ++index) {
            matrix(index).data = place;
            place += matrix(index).total_bytes();
        }
    }

    static int items(const Matrix& matrix) { return round_up(matrix.outputs, GROUP) / GROUP; }

    // Heads are shared out in blocks that fill whole groups, so that a block can be turned into bytes at once.
    int heads_per_block() const {
        if (GROUP % head_width == 0) return std::min(heads, GROUP / head_width);
        return head_width % GROUP == 0 ? 1 : heads;
    }
    int blocks() const { return (heads + heads_per_block() - 1) / heads_per_block(); }

    void product(const Matrix& by, int item, Activations& from, Activations& to, bool relu = false) {
        multiply(by, item * GROUP, from, call.rows, relu, to.values.data(), to.width);
    }

    void embed(int row) {
        const float* token = embedding + call.tokens[row] * width;
        const float* position = sinusoids + call.positions[row] * width;
        for (int i = 0; i < width; ++i) state.row(row)[i] = token[i] + position_scale * position[i];
        state.quantise(row, 0, width);
    }

    void norm(const Norm& norm, int row) {
        add_and_norm(state.row(row), added.row(row), norm.weight.data(), norm.bias.data(), width, epsilon);
        state.quantise(row, 0, width);
    }

    void attention(int layer, int row, int block) {
        const int first = block * heads_per_block(), last = std::min(heads, first + heads_per_block());
        for (int index = first; index < last; ++index) {
            if (call.memory.format == MEMORY_FP32) attend_head<Single>(layer, row, index);
            if (call.memory.format == MEMORY_BF16) attend_head<Brain>(layer, row, index);
            if (call.memory.format == MEMORY_FP16) attend_head<Half>(layer, row, index);
        }
        mixed.quantise(row, first * head_width, last * head_width);
    }

    template <class Number>
    void attend_head(int layer, int row, int index) {
        static thread_local std::vector<float> scores, query;
        const auto& strides = call.memory.strides;
        const int count = static_cast<int>(call.lengths[row]) + 1;
        auto* start = static_cast<Number*>(call.memory.data) + layer * strides[0] + row * strides[2] + index * strides[3];
        const Rows<Number> keys{start, strides[4], count}, values{start + strides[1], strides[4], count};
        const float* from = projected.row(row) + index * head_width;
        scores.resize(std::max<size_t>(scores.size(), count + LANES));
        query.resize(head_width);
        for (int i = 0; i < head_width; ++i) {
            query[i] = from[i] / std::sqrt(static_cast<float>(head_width));
            keys.row(count - 1)[i] = Number::of(from[width + i]);
            values.row(count - 1)[i] = Number::of(from[2 * width + i]);
        }
        attend(query.data(), keys, values, head_width, scores.data(), mixed.row(row) + index * head_width);
    }
};

struct Packing final : Job {
    const Matrix& matrix;
    const float* weights;
    int columns;
    Phases phases{1};
    Packing(const Matrix& matrix, const float* weights, int columns) : matrix(matrix), weights(weights), columns(columns) {}
    void run() override {
        phases.run(0, matrix.panels(), [&](int index) { matrix.pack(index, weights, columns); });
    }
};

}  // namespace

// ---- C interface; package.py calls it. Sizes and pointers are the caller's responsibility.

#define EXPORT extern "C" __attribute__((visibility("default")))

// formats: of project, combine, expand, contract and head. Returns null where memory does not suffice.
EXPORT void* decoder_new(int32_t layers, int32_t width, int32_t heads, int32_t hidden, int32_t vocabulary, float epsilon,
                         const int32_t* formats) {
    try {
        return new Decoder(layers, width, heads, hidden, vocabulary, epsilon, formats);
    } catch (const std::bad_alloc&) {
        return nullptr;
    }
}

EXPORT void decoder_free(void* decoder) { delete static_cast<Decoder*>(decoder); }

// Keeps the pointers: embedding [vocabulary, width], sinusoids [positions, width].
EXPORT void decoder_inputs(void* decoder, const float* embedding, const float* sinusoids, int32_t positions,
                           float position_scale) {
    auto& to = *static_cast<Decoder*>(decoder);
    to.embedding = embedding;
    to.sinusoids = sinusoids;
    to.positions = positions;
    to.position_scale = position_scale;
}

// Matrix `index`: project, combine, expand, contract of each layer, then the head. weights: [outputs, columns].
EXPORT void decoder_matrix(void* decoder, int32_t index, const float* weights, int32_t columns, const float* bias,
                           int32_t threads) {
    Matrix& matrix = static_cast<Decoder*>(decoder)->matrix(index);
    if (bias) std::copy_n(bias, matrix.outputs, matrix.bias.data());
    Packing packing(matrix, weights, columns);
    pool().run(packing, threads, 0);
}

// Norm `index`: first, second of each layer.
EXPORT void decoder_norm(void* decoder, int32_t index, const float* weight, const float* bias) {
    auto& to = *static_cast<Decoder*>(decoder);
    Norm& norm = index % 2 ? to.layers[index / 2].second : to.layers[index / 2].first;
    norm.weight.assign(weight, weight + to.width);
    norm.bias.assign(bias, bias + to.width);
}

// tokens, positions, lengths: [rows]. strides: of the memory's first five dimensions; window: its fifth. logits: [rows,
// vocabulary]. Returns false, having done nothing, where a token, position or length is out of range.
EXPORT bool decoder_step(void* decoder, int32_t rows, const int64_t* tokens, const int64_t* positions,
                         const int64_t* lengths, void* memory, int32_t memory_format, const int64_t* strides,
                         int32_t window, float* logits, int32_t threads, int32_t spins) {
    Call call{tokens, positions, lengths, {memory, memory_format, {}}, rows, logits};
    std::copy_n(strides, 5, call.memory.strides);
    return static_cast<Decoder*>(decoder)->step(call, window, threads, spins);
}
