// What a chart draws of many points: smoothed, and thinned out to as many as can be told apart.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "ink/plot/run_log.h"

namespace ink {

// The points whose steps lie in [first, last].
std::span<const Point> within(std::span<const Point> points, int64_t first, int64_t last);

// Exponential moving average, s = weight·s + (1 - weight)·x, divided by 1 - weight^n so that it does not start at zero
// (Kingma and Ba 2015, section 3). weight is in [0, 1): 0 returns the points. NaN stays NaN and does not count.
std::vector<Point> smooth(std::span<const Point> points, double weight);

// Some consecutive points as one.
struct Bucket {
  int64_t step = 0;  // of the first
  float mean = 0;    // of those that are finite, as low and high; NaN if none is
  float low = 0;
  float high = 0;
};

// The smallest power of two that brings `points` buckets of so many points to at most `limit`.
int64_t bucket_size(size_t points, size_t limit);

// Buckets of `size` points each; the last may hold fewer.
std::vector<Bucket> thin_out(std::span<const Point> points, int64_t size);

}  // namespace ink
