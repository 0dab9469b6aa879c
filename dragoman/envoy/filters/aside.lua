-- Puts a request's path aside for the inner side of a cache, and leaves no query: see cache.py. Parameters that do not
-- count are taken off before; all others keep their places and bytes.

local IGNORED = "x-dragoman-ignored"
local ASIDE = "x-envoy-original-path"

local function decoded(name)
  return (name:gsub("+", " "):gsub("%%(%x%x)", function(hex) return string.char(tonumber(hex, 16)) end))
end

local function without(query, ignored)
  local gone = {}
  for name in ignored:gmatch("[^&]+") do
    gone[decoded(name)] = true
  end
  local kept, found = {}, false
  for pair in (query .. "&"):gmatch("([^&]*)&") do
    if gone[decoded(pair:match("^[^=]*"))] then
      found = true
    else
      kept[#kept + 1] = pair
    end
  end
  if not found then
    return query
  end
  return #kept > 0 and table.concat(kept, "&") or nil
end

function envoy_on_request(handle)
  local headers = handle:headers()
  local ignored = headers:get(IGNORED)
  headers:remove(IGNORED)
  local path = headers:get(":path")
  local base, query = path:match("^([^?]*)%?(.*)$")
  if query ~= nil then
    if ignored ~= nil then
      query = without(query, ignored)
      path = query == nil and base or base .. "?" .. query
    end
    headers:replace(":path", base)
  end
  headers:replace(ASIDE, path)
end
