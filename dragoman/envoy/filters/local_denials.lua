-- What clients are told by limits that Envoy counts itself: see local_denials.py.

local function escaped(text)
  return (text:gsub("[^ -$&-~]", function(c) return string.format("%%%02X", string.byte(c)) end))
end

function envoy_on_response(handle)
  local headers = handle:headers()
  headers:remove("x-dragoman-denied")
  -- The limiter's own header is the last one.
  local number = string.match(headers:get("x-ratelimit-limit") or "0", "%d+$")
  local told = handle:metadata():get(number or "0")
  if told == nil then
    return
  end
  local about = handle:streamInfo():dynamicMetadata()
  about:set("envoy.filters.http.ratelimit", "limit", told["limit"])
  about:set("envoy.filters.http.ratelimit", "policy", told["policy"])
  local text = ""
  if told["before"] ~= nil then
    text = told["before"] .. (headers:get("retry-after") or "1") .. told["after"]
  end
  if not told["wait"] then
    headers:remove("retry-after")
  end
  if headers:get("grpc-status") ~= nil then
    headers:replace("grpc-status", told["grpc"])
    headers:replace("grpc-message", escaped(text))
    return
  end
  headers:replace(":status", told["status"])
  headers:replace("content-length", tostring(#text))
  if text == "" then
    headers:remove("content-type")
  end
  local body = handle:body()
  if body ~= nil then
    body:setBytes(text)
  end
end
