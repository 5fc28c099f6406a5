// A small program that reports its work: 1,000 stock checks.
#include <intilery/intilery.hpp>
#include <iostream>

int main() {
  try {
    intilery::Client client = intilery::Client::from_env();
    for (int number = 0; number < 1'000; ++number) {
      client.track("shelf-" + std::to_string(number % 20), "Stock Checked", {{"number", number}, {"left", number % 7}});
    }
    const intilery::Flush flush = client.close(std::chrono::seconds(30));
    std::cout << client.stats().delivered << " delivered\n";
    return flush.remaining == 0 && client.stats().failed == 0 ? 0 : 1;
  } catch (const intilery::IntileryError& error) {
    std::cerr << error.what() << '\n';
    return 1;
  }
}
