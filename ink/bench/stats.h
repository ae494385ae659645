// The middle of repeated measurements and how far they spread. Shared machines disturb some runs and never help one:
// medians and quartiles say what a mean hides.
#pragma once

#include <cstddef>
#include <vector>

namespace ink::bench {

struct Spread {
  double median = 0;
  double low = 0, high = 0;  // the first and third quartile
  double best = 0;           // the smallest
  size_t runs = 0;
};

// Quartiles are interpolated between neighbours, as numpy.percentile and R's type 7 do. All zero for no values.
Spread spread_of(std::vector<double> values);

}  // namespace ink::bench
