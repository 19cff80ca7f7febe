-- Requests for one blob: whole, or ranges of `size` bytes walking through it.
-- wrk ... -- URL_PATH TOTAL SIZE      (SIZE 0: the whole blob)
-- Ends by printing one JSON line that bench.py reads.

local requests = {}
local turn = 0

function init(args)
  local total, size = tonumber(args[1]), tonumber(args[2])
  if size == 0 then
    requests[1] = wrk.format("GET", wrk.path)
  else
    for first = 0, total - size, size do
      wrk.headers["Range"] = string.format("bytes=%d-%d", first, first + size - 1)
      requests[#requests + 1] = wrk.format("GET", wrk.path)
    end
  end
end

function request()
  turn = turn % #requests + 1
  return requests[turn]
end

function done(summary, latency)
  local errors = summary.errors
  io.write(string.format(
    '{"requests":%d,"seconds":%.6f,"bytes":%d,"failed":%d,"p50_us":%d,"p99_us":%d}\n',
    summary.requests, summary.duration / 1e6, summary.bytes,
    errors.connect + errors.read + errors.write + errors.status + errors.timeout,
    latency:percentile(50), latency:percentile(99)))
end
