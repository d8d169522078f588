-- Tables, strings, closures. Argument: rounds.
local function tree(depth)
  if depth == 0 then return { key = 0 } end
  return { key = depth, left = tree(depth - 1), right = tree(depth - 1) }
end

local function words(count)
  local counts = {}
  for i = 1, count do
    local w = "word" .. (i * 104729 % 5003)
    counts[w] = (counts[w] or 0) + 1
  end
  local list = {}
  for w, n in pairs(counts) do list[#list + 1] = w .. "=" .. n end
  table.sort(list)
  return #table.concat(list, ",")
end

local function closures(count)
  local made = {}
  for i = 1, count do
    local state = { i, tostring(i) }
    made[i] = function(x) return x + state[1] + #state[2] end
  end
  local sum = 0
  for i = 1, count do sum = sum + made[i](i) end
  return sum
end

local total = 0
for _ = 1, tonumber(arg[1]) do
  local t = tree(13)
  total = total + t.key + words(30000) + closures(20000)
  total = total + #(("abc"):rep(20000):gsub("b", "xyz"))
end
print("total", total)
