#include "ink/plot/series.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace ink {

std::span<const Point> within(std::span<const Point> points, int64_t first, int64_t last) {
  const auto begin = std::ranges::lower_bound(points, first, {}, &Point::step);
  const auto end = std::ranges::upper_bound(points, last, {}, &Point::step);
  return begin < end ? std::span<const Point>(begin, end) : std::span<const Point>();
}

std::vector<Point> smooth(std::span<const Point> points, double weight) {
  std::vector<Point> smoothed(points.begin(), points.end());
  if (weight <= 0) return smoothed;
  double sum = 0, weights = 0;
  for (Point& point : smoothed) {
    if (!std::isfinite(point.value)) continue;
    sum = weight * sum + (1 - weight) * point.value;
    weights = weight * weights + (1 - weight);  // 1 - weight^n
    point.value = static_cast<float>(sum / weights);
  }
  return smoothed;
}

int64_t bucket_size(size_t points, size_t limit) {
  size_t size = 1;
  while ((points + size - 1) / size > limit) size *= 2;
  return static_cast<int64_t>(size);
}

std::vector<Bucket> thin_out(std::span<const Point> points, int64_t size) {
  std::vector<Bucket> buckets;
  constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
  while (!points.empty()) {
    const auto some = points.first(std::min(points.size(), static_cast<size_t>(size)));
    Bucket bucket = {some.front().step, kNan, kNan, kNan};
    double sum = 0;
    int64_t count = 0;
    for (const Point& point : some) {
      if (!std::isfinite(point.value)) continue;
      sum += point.value;
      bucket.low = std::fmin(bucket.low, point.value);  // fmin and fmax pass over NaN
      bucket.high = std::fmax(bucket.high, point.value);
      ++count;
    }
    if (count > 0) bucket.mean = static_cast<float>(sum / static_cast<double>(count));
    buckets.push_back(bucket);
    points = points.subspan(some.size());
  }
  return buckets;
}

}  // namespace ink
