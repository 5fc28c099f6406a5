#include <intilery/intilery.hpp>
#include <intilery/testing.hpp>
#include <iostream>

int main() {
  const intilery::testing::Sandbox sandbox;
  intilery::Client client(sandbox.client_options());
  const intilery::Receipt receipt = client.track("ABC/123", "Order Completed", {{"revenue", 30.5}}).wait();
  std::cout << INTILERY_VERSION << ' ' << receipt.status << '\n';
  try {
    client.track("", "Order Completed");
  } catch (const intilery::ValidationError&) {  // an error of the library is known by its class outside of it
    return receipt.status == 200 ? 0 : 1;
  }
  return 1;
}
