// Asks a molmo-point server for points, in plain C++ over ZeroMQ. docs/wire.md is all one needs to know.
//
//   g++ -std=c++17 wire_client.cpp -lzmq -o wire_client
//   ./wire_client tcp://127.0.0.1:5555 image.jpg "the red mug"
//
// Prints one line for each point: x y score label, with x and y in 0-1 of the image. Exit code: 0 found, 3 nothing there,
// 1 no answer or an error reply. Needs libzmq (apt-get install libzmq3-dev) and nlohmann's json.hpp (nlohmann-json3-dev).

#include <zmq.h>

#include <chrono>
#include <cstdio>
#include <fstream>
#include <iostream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <optional>
#include <random>
#include <stdexcept>
#include <string>

using json = nlohmann::json;
using Clock = std::chrono::steady_clock;

namespace {

constexpr int kVersion = 1;
constexpr double kTimeoutSeconds = 30.0;
// After so much silence the server is asked whether it still knows the request: after a restart it does not.
constexpr auto kProbe = std::chrono::milliseconds(1000);

struct Failure : std::runtime_error {
  using std::runtime_error::runtime_error;
};

class Server {
 public:
  explicit Server(const std::string& address) : context_(zmq_ctx_new()), socket_(zmq_socket(context_, ZMQ_DEALER)) {
    const int no_linger = 0;
    zmq_setsockopt(socket_, ZMQ_LINGER, &no_linger, sizeof no_linger);
    if (zmq_connect(socket_, address.c_str()) != 0) {
      throw Failure("expected an address like tcp://gpu:5555, got " + address);
    }
  }
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;
  ~Server() {
    zmq_close(socket_);
    zmq_ctx_term(context_);
  }

  // One request with at most one image; returns its last reply.
  json ask(const json& header, const std::string& image) {
    const auto until = Clock::now() + std::chrono::duration_cast<Clock::duration>(
                                          std::chrono::duration<double>(kTimeoutSeconds + 1.0));
    send(header, &image);
    while (Clock::now() < until) {
      const auto reply = receive(kProbe);
      if (!reply) {
        const json again = {{"v", kVersion}, {"id", header["id"]}, {"client", header["client"]}, {"op", "again"}};
        send(again, nullptr);
        continue;
      }
      if (reply->value("v", 0) != kVersion) throw Failure("the server speaks another version");
      if (reply->value("id", "") != header["id"]) continue;
      if (reply->value("type", "") == "error" && (*reply)["error"].value("kind", "") == "unknown_request") {
        send(header, &image);  // it was restarted, or the question never arrived
        continue;
      }
      if (reply->value("last", true)) return *reply;
    }
    throw Failure("no answer in time");
  }

 private:
  void send(const json& header, const std::string* image) {
    const std::string text = header.dump();
    const int more = image != nullptr ? ZMQ_SNDMORE : 0;
    if (zmq_send(socket_, text.data(), text.size(), ZMQ_DONTWAIT | more) < 0) return;  // found out by the silence
    if (image != nullptr) zmq_send(socket_, image->data(), image->size(), ZMQ_DONTWAIT);
  }

  std::optional<json> receive(std::chrono::milliseconds wait) {
    zmq_pollitem_t item{socket_, 0, ZMQ_POLLIN, 0};
    if (zmq_poll(&item, 1, static_cast<long>(wait.count())) <= 0) return std::nullopt;
    zmq_msg_t message;
    zmq_msg_init(&message);
    std::optional<json> reply;
    if (zmq_msg_recv(&message, socket_, ZMQ_DONTWAIT) >= 0) {
      const auto* text = static_cast<const char*>(zmq_msg_data(&message));
      json parsed = json::parse(text, text + zmq_msg_size(&message), nullptr, false);
      if (parsed.is_object()) reply = std::move(parsed);
    }
    zmq_msg_close(&message);
    return reply;
  }

  void* context_;
  void* socket_;
};

std::string read_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) throw Failure("cannot read " + path);
  return {std::istreambuf_iterator<char>(file), {}};
}

std::string encoding_of(const std::string& data) {
  if (data.compare(0, 3, "\xff\xd8\xff") == 0) return "jpeg";
  if (data.compare(0, 8, "\x89PNG\r\n\x1a\n") == 0) return "png";
  if (data.size() > 12 && data.compare(8, 4, "WEBP") == 0) return "webp";
  throw Failure("expected a JPEG, PNG or WebP file");
}

std::string random_name() {
  std::random_device random;
  char text[33];
  std::snprintf(text, sizeof text, "%08x%08x%08x%08x", random(), random(), random(), random());
  return text;
}

int run(const std::string& address, const std::string& path, const std::string& query) {
  const std::string image = read_file(path);
  const json header = {
      {"v", kVersion},       {"id", "1"},
      {"client", random_name()},  {"op", "point"},
      {"query", query},      {"timeout_s", kTimeoutSeconds},
      {"image", {{"encoding", encoding_of(image)}}},
  };
  Server server(address);
  const json reply = server.ask(header, image);
  if (reply.value("type", "") == "error") {
    const json& error = reply["error"];
    throw Failure(error.value("kind", "") + ": " + error.value("message", "") + " (" + error.value("advice", "") + ")");
  }
  const json points = reply.at("pointing").value("points", json::array());
  for (const json& point : points) {
    const json score = point.value("score", json(nullptr));
    std::cout << point.at("x").get<double>() << ' ' << point.at("y").get<double>() << ' '
              << (score.is_null() ? std::string("-") : score.dump()) << ' ' << point.value("label", "") << '\n';
  }
  return points.empty() ? 3 : 0;
}

}  // namespace

int main(int count, char** arguments) {
  if (count != 4) {
    std::cerr << "usage: " << arguments[0] << " tcp://HOST:PORT IMAGE QUERY\n";
    return 2;
  }
  try {
    return run(arguments[1], arguments[2], arguments[3]);
  } catch (const std::exception& error) {
    std::cerr << "wire_client: " << error.what() << '\n';
    return 1;
  }
}
