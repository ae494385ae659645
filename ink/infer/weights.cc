#include "ink/infer/weights.h"

#include <algorithm>
#include <cassert>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "ink/base/check.h"
#include "ink/base/system.h"
#include "ink/tensor/plan.h"

namespace ink {

namespace {

// The bytes that an element's address must be a multiple of; blocks are read byte by byte.
size_t alignment_of(DType dtype) { return block_of(dtype) == 1 ? block_bytes(dtype) : 1; }

// Of tensors that are read in place by a GPU: vectors of four floats.
constexpr size_t kWrapAlignment = 16;

// The begin of the page that p is in.
const std::byte* page_of(const std::byte* p) { return p - reinterpret_cast<uintptr_t>(p) % page_size(); }

// Decides for each parameter where it will lie, and copies those that cannot stay.
class Loader {
 public:
  Loader(std::shared_ptr<const ModelSource> source, Ops& ops) : source_(std::move(source)), ops_(ops) {}

  // Both slots must not move until finish().
  void add(const ParamSpec& spec, int64_t layer, Tensor& slot, bool* trans = nullptr) {
    StoredTensor stored = source_->tensor(spec, layer);
    if (trans != nullptr) *trans = !stored.transposed;
    const bool matrix = trans != nullptr || spec.vocab_rows;
    const bool aligned = reinterpret_cast<uintptr_t>(stored.data.data()) % alignment_of(stored.dtype) == 0;
    const bool stays = ops_.reads_host_memory() && aligned && (matrix || stored.dtype == DType::f32);
    if (stays) {
      // Nothing writes to a weight of inference, though a Tensor could.
      slot = Tensor(const_cast<std::byte*>(stored.data.data()), stored.dtype, stored.shape);
      if (stored.owner != nullptr) owners_.push_back(std::move(stored.owner));
      return;
    }
    const DType dtype = matrix ? stored.dtype : DType::f32;
    copies_.push_back({&slot, std::move(stored), dtype, param_name(spec, layer)});
  }

  // Wraps or copies. Returns what keeps all memory alive.
  std::vector<std::shared_ptr<const void>> finish() {
    owners_.emplace_back(source_);
    wrap();
    if (copies_.empty()) return std::move(owners_);
    for (const Copy& c : copies_) plan_.add(c.slot, "parameters", c.name, c.dtype, c.stored.shape);
    check(plan_.bytes() <= ops_.memory(), "{}: the weights take {}, but the {} device has {}", source_->description(),
          human_bytes(plan_.bytes()), ops_.name(), human_bytes(ops_.memory()));
    std::shared_ptr<Buffer> memory = ops_.allocate(plan_.bytes());
    plan_.bind(memory->data());
    std::vector<float> values;
    for (const Copy& c : copies_) {
      if (c.slot->dtype == c.stored.dtype) {
        ops_.upload(*c.slot, c.stored.data.data());
      } else {
        values.resize(static_cast<size_t>(c.slot->numel()));
        read_elements(c.stored, 0, values);
        ops_.upload(*c.slot, values.data());
      }
    }
    owners_.emplace_back(std::move(memory));
    return std::move(owners_);
  }

 private:
  struct Copy {
    Tensor* slot;  // null when it is done with
    StoredTensor stored;
    DType dtype;
    std::string name;

    const std::byte* begin() const { return stored.data.data(); }
    const std::byte* end() const { return begin() + stored.data.size(); }
  };

  // What a device with memory of its own can read in the pages of a mapped file: it stays there.
  void wrap() {
    std::vector<Copy*> mapped;
    for (Copy& c : copies_) {
      const bool aligned = reinterpret_cast<uintptr_t>(c.begin()) % kWrapAlignment == 0;
      const bool as_stored = c.stored.owner == nullptr && c.stored.dtype == c.dtype;
      if (aligned && as_stored && c.begin() != c.end()) mapped.push_back(&c);
    }
    std::ranges::sort(mapped, {}, &Copy::begin);
    // Tensors that share a page are of one buffer: buffers do not overlap, and none reaches beyond a file.
    for (size_t first = 0, last = 0; first < mapped.size(); first = last) {
      const std::byte* const begin = page_of(mapped[first]->begin());
      const std::byte* end = begin;
      for (; last < mapped.size() && (last == first || mapped[last]->begin() < end); ++last) {
        end = std::max(end, page_of(mapped[last]->end() - 1) + page_size());
      }
      std::shared_ptr<Buffer> buffer = ops_.wrap({begin, end}, source_);
      if (buffer == nullptr) break;
      for (; first < last; ++first) {
        Copy& c = *mapped[first];
        *c.slot = Tensor(buffer->data() + (c.begin() - begin), c.dtype, c.stored.shape);
        c.slot = nullptr;
      }
      owners_.emplace_back(std::move(buffer));
    }
    std::erase_if(copies_, [](const Copy& c) { return c.slot == nullptr; });
  }

  std::shared_ptr<const ModelSource> source_;
  Ops& ops_;
  Plan plan_;
  std::vector<Copy> copies_;
  std::vector<std::shared_ptr<const void>> owners_;
};

}  // namespace

InferenceWeights load_inference_weights(const std::shared_ptr<const ModelSource>& source, Ops& ops) {
  InferenceWeights w;
  w.config = source->config();
  w.blocks.resize(static_cast<size_t>(w.config.layers));
  Loader loader(source, ops);
  // In the schema's order.
  std::vector<std::pair<Tensor*, bool*>> slots = {{&w.wte, nullptr}, {&w.wpe, nullptr}};
  for (InferenceWeights::Block& b : w.blocks) {
    const auto add_linear = [&](Linear& l) {
      slots.emplace_back(&l.weight, &l.trans);
      slots.emplace_back(&l.bias, nullptr);
    };
    slots.insert(slots.end(), {{&b.ln1, nullptr}, {&b.ln1_bias, nullptr}});
    add_linear(b.qkv);
    add_linear(b.att_proj);
    slots.insert(slots.end(), {{&b.ln2, nullptr}, {&b.ln2_bias, nullptr}});
    add_linear(b.fc);
    add_linear(b.fc_proj);
  }
  slots.insert(slots.end(), {{&w.lnf, nullptr}, {&w.lnf_bias, nullptr}});
  if (!w.config.tied) slots.emplace_back(&w.head, nullptr);
  auto next = slots.begin();
  for_each_param(w.config, [&](const ParamSpec& spec, int64_t layer) {
    assert(next != slots.end());
    loader.add(spec, layer, *next->first, next->second);
    ++next;
  });
  assert(next == slots.end());
  w.owners = loader.finish();
  if (w.config.tied) w.head = w.wte;
  return w;
}

}  // namespace ink
