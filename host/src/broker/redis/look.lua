-- KEYS: place; ARGV: 'list' | 'zset', first, how many
-- Looks, and takes nothing: { value, digest… }, in the order in which they would be read.
local first, last = tonumber(ARGV[2]), ARGV[2] + ARGV[3] - 1
local values
if ARGV[1] == 'zset' then
  values = redis.call('ZREVRANGE', KEYS[1], first, last)
else
  -- Read from the right end.
  local found = redis.call('LRANGE', KEYS[1], -1 - last, -1 - first)
  values = {}
  for i = #found, 1, -1 do
    values[#values + 1] = found[i]
  end
end
local out = {}
for _, value in ipairs(values) do
  out[#out + 1] = value
  out[#out + 1] = string.sub(redis.sha1hex(value), 1, 16)
end
return out
