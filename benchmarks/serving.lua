-- For wrk: posts the bodies in a file, one per line, in turn; prints a line of JSON, latencies in ms.
-- wrk … -s serving.lua URL -- FILE

local bodies, index = {}, 0

function init(arguments)
  for line in io.lines(arguments[1]) do bodies[#bodies + 1] = line end
end

function request()
  index = index % #bodies + 1
  return wrk.format("POST", "/invocations", { ["Content-Type"] = "application/json" }, bodies[index])
end

function done(summary, latency)
  local errors = summary.errors
  local failed = errors.status + errors.connect + errors.read + errors.write + errors.timeout
  io.write(string.format(
    '{"requests": %d, "failed": %d, "per_second": %.1f, "p50": %.2f, "p95": %.2f, "p99": %.2f}\n',
    summary.requests, failed, summary.requests / summary.duration * 1e6,
    latency:percentile(50) / 1000, latency:percentile(95) / 1000, latency:percentile(99) / 1000))
end
