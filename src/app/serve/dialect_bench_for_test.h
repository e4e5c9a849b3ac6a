// A fake service behind the real routes: what a body becomes, and what comes back.
#pragma once

#include <doctest/doctest.h>

#include <memory>
#include <string>
#include <utility>

#include "serve/context.h"
#include "serve/fake_service_for_test.h"
#include "serve/keys.h"
#include "serve/routes.h"

namespace lapidary::serve_test {

struct DialectBench {
  FakeService service;
  KeyStore keys{{}};
  Context context{service, keys};

  HttpReply ask(const std::string& path, const OrderedJson& body, const HeaderList& headers = {},
                const HeaderList& query = {}) {
    HttpRequest request;
    request.method = "POST";
    request.path = path;
    request.body = dump(body);
    request.headers = headers;
    request.query = query;
    const RouteMatch match = find_route("POST", path);
    REQUIRE(match.route != nullptr);
    request.parameter = match.parameter;
    const auto exchange = std::make_shared<FakeExchange>(std::move(request));
    match.route->handler(context, exchange);
    exchange->run();
    return exchange->answer;
  }
};

}  // namespace lapidary::serve_test
