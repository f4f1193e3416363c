-- Before every script that publishes and settles: outputs of one commit happen completely or not at all.
-- Nobody reads in between, a script is one step; so what was put there can be taken back unseen.
local function take_back(added)
  for k = #added, 1, -1 do
    local one = added[k]
    if one[1] == 'XADD' then
      redis.pcall('XDEL', one[2], one[3])
    elseif one[1] == 'LPUSH' then
      redis.pcall('LPOP', one[2])
    elseif one[3] == 1 then
      -- A member that was there before is left: an earlier try had put it there.
      redis.pcall('ZREM', one[2], one[4])
    end
  end
end
-- What the server said against it. One that takes no writes any more (it became a replica) says so to all of them: nothing was
-- done then, and it is told by one error, for which the caller leaves the connection.
local left
local function against(answer)
  local said = answer.err or 'no answer'
  local at = string.find(said, 'READONLY', 1, true)
  left = left or at and string.sub(said, at)
  return said
end
-- Carries out one output whose arguments are ARGV from `first` to `last`; answers what the server said against it.
local function put(added, verb, key, first, last)
  local answer = redis.pcall(verb, key, unpack(ARGV, first, last))
  if type(answer) == 'table' then
    return against(answer)
  end
  added[#added + 1] = { verb, key, answer, verb == 'ZADD' and ARGV[last] }
end
