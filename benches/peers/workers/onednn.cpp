// oneDNN behind a few C functions, which onednn.py calls: one convolution, transposed or not, with everything prepared beforehand.

#include <oneapi/dnnl/dnnl.hpp>

#include <chrono>
#include <cstdint>
#include <cstring>
#include <ctime>
#include <exception>
#include <memory>
#include <stdexcept>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

using namespace dnnl;
using dims = memory::dims;
using tag = memory::format_tag;

namespace {

struct Convolution {
    engine cpu{engine::kind::cpu, 0};
    stream queue{cpu};
    dnnl::primitive primitive;
    std::unordered_map<int, memory> arguments;
    memory plain_dst;
    std::string implementation;

    void run() {
        primitive.execute(queue, arguments);
        queue.wait();
    }
};

thread_local std::string message;

tag plain(int rank) { return rank == 1 ? tag::ncw : rank == 2 ? tag::nchw : tag::ncdhw; }
tag last(int rank) { return rank == 1 ? tag::nwc : rank == 2 ? tag::nhwc : tag::ndhwc; }
/// Of the user's weights, seen as [k, c / groups, ...] or [groups, k / groups, c / groups, ...].
tag filter(int rank, bool grouped, bool transposed) {
    if (transposed && grouped) return rank == 1 ? tag::acbd : rank == 2 ? tag::acbde : tag::acbdef;
    if (transposed) return rank == 1 ? tag::bac : rank == 2 ? tag::bacd : tag::bacde;
    if (grouped) return rank == 1 ? tag::goiw : rank == 2 ? tag::goihw : tag::goidhw;
    return rank == 1 ? tag::oiw : rank == 2 ? tag::oihw : tag::oidhw;
}

memory::data_type type(const std::string &name) {
    static const std::unordered_map<std::string, memory::data_type> types{
        {"f32", memory::data_type::f32}, {"bf16", memory::data_type::bf16}, {"f16", memory::data_type::f16},
        {"u8", memory::data_type::u8}, {"s8", memory::data_type::s8}, {"s32", memory::data_type::s32}};
    const auto found = types.find(name);
    return found != types.end() ? found->second : throw std::invalid_argument("no type `" + name + "`");
}

/// `data`, laid out as `from`, copied to memory laid out as `to`.
memory reordered(Convolution &c, const memory::desc &from, const void *data, const memory::desc &to) {
    memory given(from, c.cpu), wanted(to, c.cpu);
    std::memcpy(given.get_data_handle(), data, from.get_size());
    reorder(given, wanted).execute(c.queue, given, wanted);
    c.queue.wait();
    return wanted;
}

template <class F>
auto guarded(F f, decltype(f()) failed) -> decltype(f()) {
    try {
        return f();
    } catch (const error &e) {
        message = e.status == dnnl_unimplemented ? "unimplemented" : e.what();
    } catch (const std::exception &e) {
        message = e.what();
    }
    return failed;
}

double seconds(bool cpu) {
    timespec t;
    clock_gettime(cpu ? CLOCK_PROCESS_CPUTIME_ID : CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec * 1e-9;
}

} // namespace

extern "C" {

/// Sizes of a layer; the arrays have `rank` elements.
struct Layer {
    int64_t rank, batch, in_channels, out_channels, groups, transposed;
    int64_t size[3], kernel[3], stride[3], pad_lo[3], pad_hi[3], dilation[3], output[3];
};

/// Names of types, and of integers the scales of source and weights together and of the result (or 0: it has none), and zero points.
struct Elements {
    const char *src, *weights, *bias, *dst;
    float sum_scale, dst_scale;
    int32_t src_zero, dst_zero;
};

const char *conv_message() { return message.c_str(); }

const char *conv_version() {
    static const auto *v = dnnl_version();
    static const auto text = std::to_string(v->major) + "." + std::to_string(v->minor) + "." + std::to_string(v->patch);
    return text.c_str();
}

/// Creates a convolution from `src` [n, c, ...], `weights` [k, c / groups, ...] (transposed [c, k / groups, ...]), `bias` [k] or null. `format` is "any",
/// "nchw" or "nhwc": of src and dst; the weights are always as the library likes them. Null and a message on failure.
void *conv_create(const Layer *l, const Elements *e, const char *format, const void *src, const void *weights,
                  const void *bias, double *create_us) {
    return guarded([&]() -> void * {
        auto c = std::make_unique<Convolution>();
        const int rank = l->rank;
        const auto src_type = type(e->src), weights_type = type(e->weights), dst_type = type(e->dst);
        const auto axes = [&](const int64_t *values) { return dims(values, values + rank); };
        const auto shape = [&](dims first, const int64_t *rest) {
            first.insert(first.end(), rest, rest + rank);
            return first;
        };
        const bool grouped = l->groups != 1;
        const auto per_group = l->in_channels / l->groups;
        const auto src_dims = shape({l->batch, l->in_channels}, l->size);
        const auto dst_dims = shape({l->batch, l->out_channels}, l->output);
        const auto weights_dims = grouped ? shape({l->groups, l->out_channels / l->groups, per_group}, l->kernel)
                                          : shape({l->out_channels, per_group}, l->kernel);
        dims dilation = axes(l->dilation);
        for (auto &d : dilation) d -= 1;

        const std::string name = format;
        const tag data = name == "any" ? tag::any : name == "nhwc" ? last(rank) : plain(rank);
        const memory::desc src_want(src_dims, src_type, data), dst_want(dst_dims, dst_type, data);
        const memory::desc weights_want(weights_dims, weights_type, tag::any);
        const memory::desc bias_desc = bias ? memory::desc({l->out_channels}, type(e->bias), tag::x) : memory::desc();

        primitive_attr attributes;
        const auto attribute = [&](int argument, auto value, memory::data_type of) {
            const memory::desc one({1}, of, tag::x);
            c->arguments.emplace(argument, reordered(*c, one, &value, one));
        };
        if (e->dst_scale != 0) {
            attributes.set_scales_mask(DNNL_ARG_WEIGHTS, 0);
            attributes.set_scales_mask(DNNL_ARG_DST, 0);
            attribute(DNNL_ARG_ATTR_SCALES | DNNL_ARG_WEIGHTS, e->sum_scale, memory::data_type::f32);
            attribute(DNNL_ARG_ATTR_SCALES | DNNL_ARG_DST, e->dst_scale, memory::data_type::f32);
        }
        for (const auto &[argument, zero] : {std::pair(DNNL_ARG_SRC, e->src_zero), std::pair(DNNL_ARG_DST, e->dst_zero)}) {
            if (zero == 0) continue;
            attributes.set_zero_points_mask(argument, 0);
            attribute(DNNL_ARG_ATTR_ZERO_POINTS | argument, zero, memory::data_type::s32);
        }

        memory::desc src_desc, weights_desc, dst_desc;
        const auto make = [&](const auto &desc, auto primitive) {
            c->primitive = primitive;
            c->implementation = desc.impl_info_str();
            src_desc = desc.src_desc(), weights_desc = desc.weights_desc(), dst_desc = desc.dst_desc();
        };
        const auto begin = std::chrono::steady_clock::now();
        if (l->transposed) {
            const deconvolution_forward::primitive_desc desc(
                c->cpu, prop_kind::forward_inference, algorithm::deconvolution_direct, src_want, weights_want, bias_desc,
                dst_want, axes(l->stride), dilation, axes(l->pad_lo), axes(l->pad_hi), attributes);
            make(desc, deconvolution_forward(desc));
        } else {
            const convolution_forward::primitive_desc desc(
                c->cpu, prop_kind::forward_inference, algorithm::convolution_auto, src_want, weights_want, bias_desc,
                dst_want, axes(l->stride), dilation, axes(l->pad_lo), axes(l->pad_hi), attributes);
            make(desc, convolution_forward(desc));
        }
        *create_us = std::chrono::duration<double, std::micro>(std::chrono::steady_clock::now() - begin).count();

        const memory dst(dst_desc, c->cpu);
        const memory::desc src_plain(src_dims, src_type, plain(rank));
        const memory::desc weights_plain(weights_dims, weights_type, filter(rank, grouped, l->transposed));
        c->arguments.emplace(DNNL_ARG_SRC, reordered(*c, src_plain, src, src_desc));
        c->arguments.emplace(DNNL_ARG_WEIGHTS, reordered(*c, weights_plain, weights, weights_desc));
        c->arguments.emplace(DNNL_ARG_DST, dst);
        if (bias) c->arguments.emplace(DNNL_ARG_BIAS, reordered(*c, bias_desc, bias, bias_desc));
        c->plain_dst = memory(memory::desc(dst_dims, dst_type, plain(rank)), c->cpu);
        c->run();
        return c.release();
    }, nullptr);
}

const char *conv_implementation(const void *conv) {
    return static_cast<const Convolution *>(conv)->implementation.c_str();
}

/// Runs `calls` times; microseconds a call, of this process or as they pass, or -1 and a message.
double conv_time(void *conv, int calls, bool cpu) {
    auto &c = *static_cast<Convolution *>(conv);
    return guarded([&] {
        const double begin = seconds(cpu);
        for (int i = 0; i < calls; i++) c.run();
        return (seconds(cpu) - begin) / calls * 1e6;
    }, -1.0);
}

/// Copies the result to `dst`, [n, k, ...]; 0, or -1 and a message.
int conv_output(void *conv, void *dst) {
    auto &c = *static_cast<Convolution *>(conv);
    return guarded([&] {
        memory result = c.arguments.at(DNNL_ARG_DST);
        reorder(result, c.plain_dst).execute(c.queue, result, c.plain_dst);
        c.queue.wait();
        std::memcpy(dst, c.plain_dst.get_data_handle(), c.plain_dst.get_desc().get_size());
        return 0;
    }, -1);
}

void conv_free(void *conv) { delete static_cast<Convolution *>(conv); }
}
